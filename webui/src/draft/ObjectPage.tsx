/** What all editor pages share: head with rename and remove, the waiting and missing states, the note for viewers. */
import { useState, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { Button, Text } from '@mantine/core'
import { Link, useLocation } from 'wouter'
import { RoleButton } from '../display/Allowed.tsx'
import { Confirm } from '../display/Confirm.tsx'
import { EmptyState, FailureNote, PageHead, Panel, Waiting } from '../display/Panel.tsx'
import { Status } from '../display/Status.tsx'
import type { ConfigurationDocument } from '../../../node/api/types.ts'
import { useEditing } from './document.tsx'
import { NameDialog } from './NameDialog.tsx'

type Part = 'pools' | 'listeners' | 'vips'
type Change = (document: ConfigurationDocument) => ConfigurationDocument

export function DraftMark({ path }: { readonly path: string }) {
  const { t } = useTranslation()
  const { draft } = useEditing()
  const touching = draft?.differences.filter((difference) => difference.path === path || difference.path.startsWith(`${path}/`)) ?? []
  if (touching.length === 0) return null
  const added = touching.some((difference) => difference.path === path && difference.kind === 'added')
  return <span className="h-tag h-tag-draft">{added ? t('draft.new') : t('draft.edited')}</span>
}

export function ReadOnlyNote() {
  const { t } = useTranslation()
  const { mayEdit } = useEditing()
  if (mayEdit) return null
  return (
    <Text size="sm" mb="sm">
      <Status kind="info">{t('role.readOnly', { role: t('role.operator') })}</Status>
    </Text>
  )
}

/** Waits for the configuration, or says why it is not there. */
export function WithDocument({ title, children }: { readonly title: string; readonly children: (document: ConfigurationDocument) => ReactNode }) {
  const { document, failure, retry } = useEditing()
  if (document !== undefined) return children(document)
  return (
    <>
      <PageHead title={title} />
      <Panel>{failure === null ? <Waiting /> : <FailureNote error={failure} retry={retry} />}</Panel>
    </>
  )
}

export function ObjectPage(props: {
  readonly part: Part
  readonly name: string
  readonly note?: ReactNode
  /** Names of the listeners that use it: it cannot be removed while there are any. */
  readonly usedBy: readonly string[]
  readonly rename: (next: string) => Change
  readonly remove: Change
  readonly children: (index: number) => ReactNode
}) {
  const { t } = useTranslation()
  const { edit } = useEditing()
  const [, navigate] = useLocation()
  const [dialog, setDialog] = useState<'rename' | 'remove' | ''>('')
  const crumbs = [{ label: t(`nav.${props.part}`), href: `/${props.part}` }]
  return (
    <WithDocument title={props.name}>
      {(document) => {
        const list: readonly { readonly name: string }[] = document[props.part]
        const index = list.findIndex((item) => item.name === props.name)
        if (index < 0) {
          return (
            <>
              <PageHead title={props.name} crumbs={crumbs} />
              <Panel>
                <EmptyState title={t('object.missing', { name: props.name })} next={t('object.missingNext')}>
                  <Button component={Link} href={`/${props.part}`}>
                    {t(`nav.${props.part}`)}
                  </Button>
                </EmptyState>
              </Panel>
            </>
          )
        }
        return (
          <>
            <PageHead title={props.name} crumbs={crumbs} note={props.note} aside={<DraftMark path={`${props.part}/${props.name}`} />}>
              <RoleButton role="operator" variant="default" onClick={() => setDialog('rename')}>
                {t('action.rename')}
              </RoleButton>
              <RoleButton
                role="operator"
                variant="default"
                testId="remove"
                blocked={props.usedBy.length > 0 ? t('object.inUse', { names: props.usedBy.join(', ') }) : undefined}
                onClick={() => setDialog('remove')}
              >
                {t('action.remove')}
              </RoleButton>
            </PageHead>
            <ReadOnlyNote />
            {props.children(index)}
            <NameDialog
              opened={dialog === 'rename'}
              title={t('object.renameTitle', { name: props.name })}
              action={t('action.rename')}
              note={t('object.renameNote')}
              initial={props.name}
              taken={list}
              close={() => setDialog('')}
              done={(next) => {
                if (next === props.name) return
                edit('', props.rename(next))
                navigate(`/${props.part}/${next}`, { replace: true })
              }}
            />
            <Confirm
              opened={dialog === 'remove'}
              title={t('object.removeTitle', { name: props.name })}
              action={t('object.removeAction')}
              dangerous
              close={() => setDialog('')}
              run={async () => {
                navigate(`/${props.part}`)
                edit('', props.remove)
              }}
            >
              <Text>{t('object.removeText')}</Text>
            </Confirm>
          </>
        )
      }}
    </WithDocument>
  )
}
