/** A button for something that needs a role: it stays visible without it and says why it cannot be used. */
import type { ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { Button, Tooltip, type ButtonProps } from '@mantine/core'
import type { UserRole } from '../../../node/api/types.ts'
import { useMay } from '../api/session.ts'

export function RoleButton(
  props: Omit<ButtonProps, 'disabled'> & {
    readonly role: UserRole
    readonly onClick: () => void
    /** Another reason why it cannot be used now. */
    readonly blocked?: string | undefined
    readonly testId?: string
    readonly label?: string
    readonly children: ReactNode
  },
) {
  const { role, blocked, onClick, testId, label, ...rest } = props
  const { t } = useTranslation()
  const may = useMay(role)
  const reason = may ? blocked : t('role.needed', { role: t(`role.${role}`) })
  const off = reason !== undefined && reason !== ''
  // aria-disabled and not disabled: it keeps the focus, so that a keyboard reaches the reason too.
  return (
    <Tooltip label={reason ?? ''} disabled={!off}>
      <Button
        {...rest}
        data-testid={testId}
        aria-label={label}
        aria-disabled={off}
        {...(off ? { 'data-disabled': true } : {})}
        onClick={(event) => {
          if (off) event.preventDefault()
          else onClick()
        }}
      />
    </Tooltip>
  )
}
