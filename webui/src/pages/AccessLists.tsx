/** The access lists of the document: their names, and their prefixes one a line. Long ones are shown by their length only. */
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { ActionIcon, Button, Group, Text, Textarea, Tooltip } from '@mantine/core'
import { IconPlus, IconTrash } from '@tabler/icons-react'
import type { ConfigurationDocument } from '../../../node/api/types.ts'
import { RoleButton } from '../display/Allowed.tsx'
import { useFormat } from '../display/format.ts'
import { Panel } from '../display/Panel.tsx'
import { useEditing, useProblem } from '../draft/document.tsx'
import { TextField } from '../draft/Fields.tsx'
import { freeName, withOptional } from '../draft/operations.ts'

type AccessList = NonNullable<ConfigurationDocument['accessLists']>[number]

/** More than this are not edited in a page. */
const maxShown = 2000

export function AccessLists({ document }: { readonly document: ConfigurationDocument }) {
  const { t } = useTranslation()
  const { edit, mayEdit } = useEditing()
  const lists = document.accessLists ?? []
  const put = (field: string, change: (lists: readonly AccessList[]) => readonly AccessList[]) =>
    edit(field === '' ? '' : `/accessLists/${field}`, (old) => {
      const next = change(old.accessLists ?? [])
      return withOptional(old, 'accessLists', next.length === 0 ? undefined : [...next])
    })
  const users = (name: string) => document.listeners.filter((listener) => [...(listener.allow ?? []), ...(listener.deny ?? [])].includes(name)).map((listener) => listener.name)
  const add = (
    <RoleButton role="operator" variant="default" size="compact-sm" leftSection={<IconPlus size={14} aria-hidden />} onClick={() => put('', (old) => [...old, { name: freeName('addresses', old), prefixes: [] }])} testId="add-access-list">
      {t('accessList.add')}
    </RoleButton>
  )
  return (
    <Panel title={t('accessList.title')} note={t('accessList.note')} actions={add} testId="access-lists">
      {lists.length === 0 && <Text c="dimmed" fz="sm">{t('accessList.none')}</Text>}
      {lists.map((list, at) => {
        const usedBy = users(list.name)
        return (
          <Group key={at} align="flex-start" wrap="nowrap" mb="sm">
            <TextField pointer={`/accessLists/${at}/name`} label={t('column.name')} value={list.name} hint={usedBy.length === 0 ? t('accessList.unused') : usedBy.join(', ')} onChange={(name) => edit(`/accessLists/${at}/name`, renamed(at, name))} />
            <Prefixes list={list} pointer={`/accessLists/${at}/prefixes`} onChange={(prefixes) => put(`${at}/prefixes`, (old) => old.map((one, index) => (index === at ? { ...one, prefixes } : one)))} />
            {mayEdit && (
              <Tooltip label={usedBy.length === 0 ? t('accessList.remove', { name: list.name }) : t('object.inUse', { names: usedBy.join(', ') })}>
                <ActionIcon mt={24} disabled={usedBy.length > 0} aria-label={t('accessList.remove', { name: list.name })} onClick={() => put('', (old) => old.filter((_, index) => index !== at))}>
                  <IconTrash size={16} stroke={1.7} />
                </ActionIcon>
              </Tooltip>
            )}
          </Group>
        )
      })}
    </Panel>
  )
}

/** Listeners that use the list follow its name, unless another list has the new one. */
function renamed(at: number, name: string) {
  return (old: ConfigurationDocument): ConfigurationDocument => {
    const lists = old.accessLists ?? []
    const before = lists[at]?.name
    const follow = lists.some((list) => list.name === name) ? undefined : before
    const named = (names: readonly string[]): string[] => names.map((one) => (one === follow ? name : one))
    return {
      ...old,
      accessLists: lists.map((list, index) => (index === at ? { ...list, name } : list)),
      listeners: old.listeners.map((listener) => ({
        ...listener,
        ...(listener.allow === undefined ? {} : { allow: named(listener.allow) }),
        ...(listener.deny === undefined ? {} : { deny: named(listener.deny) }),
      })),
    }
  }
}

/** What is being typed is the page's until it is given over: a draft with half an address in it would be refused at every key. */
function Prefixes({ list, pointer, onChange }: { readonly list: AccessList; readonly pointer: string; readonly onChange: (prefixes: string[]) => void }) {
  const { t } = useTranslation()
  const format = useFormat()
  const problemOf = useProblem()
  const { mayEdit } = useEditing()
  const [text, setText] = useState<string>()
  if (list.prefixes.length > maxShown) return <Text fz="sm" mt={28} style={{ flex: 1 }}>{t('accessList.long', { count: list.prefixes.length, shown: format.count(list.prefixes.length) })}</Text>
  const problem = problemOf(pointer) ?? list.prefixes.map((_, at) => problemOf(`${pointer}/${at}`)).find((found) => found !== undefined)
  const save = () => {
    if (text === undefined) return
    onChange(text.split(/[\s,]+/).filter((word) => word !== ''))
    setText(undefined)
  }
  return (
    <div style={{ flex: 1 }}>
      <Textarea
        label={t('accessList.prefixes')}
        description={t('accessList.prefixesHint')}
        error={problem}
        readOnly={!mayEdit}
        classNames={{ input: 'h-mono' }}
        autosize
        minRows={2}
        maxRows={12}
        spellCheck={false}
        value={text ?? list.prefixes.join('\n')}
        onChange={(event) => setText(event.currentTarget.value)}
        onBlur={save}
        data-testid="access-list-prefixes"
      />
      {text !== undefined && <Button mt={4} size="compact-xs" variant="default" onClick={save}>{t('accessList.take')}</Button>}
    </div>
  )
}
