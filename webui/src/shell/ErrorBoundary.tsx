/** A page that fails to draw, or whose file cannot be loaded, must not take the rest of the console with it. */
import { Component, type ReactNode } from 'react'
import { withTranslation, type WithTranslation } from 'react-i18next'
import { Button } from '@mantine/core'
import { EmptyState } from '../display/Panel.tsx'

interface Props extends WithTranslation<'console'> {
  readonly children: ReactNode
}

class Boundary extends Component<Props, { readonly failed: boolean }> {
  override readonly state = { failed: false }

  static getDerivedStateFromError(): { readonly failed: boolean } {
    return { failed: true }
  }

  override render(): ReactNode {
    if (!this.state.failed) return this.props.children
    const { t } = this.props
    return (
      <EmptyState title={t('pageFailed.title')} next={t('pageFailed.next')}>
        <Button onClick={() => location.reload()}>{t('pageFailed.reload')}</Button>
      </EmptyState>
    )
  }
}

export const ErrorBoundary = withTranslation('console')(Boundary)
