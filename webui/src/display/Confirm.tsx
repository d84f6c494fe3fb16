/** Asks before something that cannot simply be taken back; `typed`: the words that have to be typed first. */
import { useState, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { Button, Group, Modal, Stack, TextInput } from '@mantine/core'
import { FailureNote } from './Panel.tsx'

export interface ConfirmProps {
  readonly opened: boolean
  readonly title: string
  readonly action: string
  readonly dangerous?: boolean
  readonly typed?: string
  readonly disabled?: boolean
  /** The dialog stays open and shows the error when it throws. */
  readonly run: () => Promise<void>
  readonly close: () => void
  readonly children: ReactNode
}

export function Confirm(props: ConfirmProps) {
  const { t } = useTranslation()
  return (
    <Modal opened={props.opened} onClose={props.close} title={props.title} closeButtonProps={{ 'aria-label': t('action.close') }}>
      {props.opened && <Body {...props} />}
    </Modal>
  )
}

function Body(props: ConfirmProps) {
  const { t } = useTranslation()
  const [text, setText] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>()
  const ready = (props.typed === undefined || text.trim() === props.typed) && props.disabled !== true
  const run = async () => {
    setBusy(true)
    setError(undefined)
    try {
      await props.run()
      props.close()
    } catch (failure) {
      setError(failure)
    } finally {
      setBusy(false)
    }
  }
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        if (ready) void run()
      }}
    >
      <Stack gap="sm">
        {props.children}
        {props.typed !== undefined && (
          <TextInput
            label={t('confirm.type', { text: props.typed })}
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
            autoComplete="off"
            data-autofocus
          />
        )}
        {error !== undefined && <FailureNote error={error} />}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={props.close}>
            {t('action.cancel')}
          </Button>
          <Button type="submit" loading={busy} disabled={!ready} {...(props.dangerous === true ? { color: 'red' } : {})} data-testid="confirm">
            {props.action}
          </Button>
        </Group>
      </Stack>
    </form>
  )
}
