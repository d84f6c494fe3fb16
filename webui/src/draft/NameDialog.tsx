/** Asks for the name of a new object, or for another name of an existing one. */
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core'
import { isName } from './checks.ts'

export interface NameDialogProps {
  readonly opened: boolean
  readonly title: string
  readonly action: string
  readonly note?: string
  readonly initial: string
  readonly taken: readonly { readonly name: string }[]
  readonly done: (name: string) => void
  readonly close: () => void
}

export function NameDialog(props: NameDialogProps) {
  const { t } = useTranslation()
  return (
    <Modal opened={props.opened} onClose={props.close} title={props.title} closeButtonProps={{ 'aria-label': t('action.close') }}>
      {props.opened && <Body {...props} />}
    </Modal>
  )
}

function Body(props: NameDialogProps) {
  const { t } = useTranslation()
  const [name, setName] = useState(props.initial)
  const taken = name !== props.initial && props.taken.some((item) => item.name === name)
  const problem = name === '' ? undefined : !isName(name) ? t('check.name') : taken ? t('check.duplicateName', { value: name }) : undefined
  const ready = name !== '' && problem === undefined
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        if (!ready) return
        props.close()
        props.done(name)
      }}
    >
      <Stack gap="sm">
        {props.note !== undefined && <Text c="dimmed">{props.note}</Text>}
        <TextInput
          label={t('column.name')}
          description={t('field.nameHint')}
          value={name}
          error={problem}
          onChange={(event) => setName(event.currentTarget.value)}
          autoComplete="off"
          spellCheck={false}
          data-autofocus
          data-testid="object-name"
        />
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={props.close}>
            {t('action.cancel')}
          </Button>
          <Button type="submit" disabled={!ready} data-testid="object-name-done">
            {props.action}
          </Button>
        </Group>
      </Stack>
    </form>
  )
}
