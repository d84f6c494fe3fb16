/** Parts of an editor that are folded away while they hold nothing but defaults; the head says in a line what is inside. */
import { useId, useState, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { Group, Text, Title } from '@mantine/core'
import { IconChevronDown, IconChevronRight } from '@tabler/icons-react'
import { useEditing } from './document.tsx'

interface FoldProps {
  readonly title: string
  readonly note?: ReactNode
  /** Labels of what is set in it; nothing of it: folded at first. */
  readonly holds: readonly (string | false | undefined)[]
  /** JSON pointers of what is in it: a problem at or below one of them opens it. */
  readonly pointers: readonly string[]
  /** Content touches the edges: tables. */
  readonly flush?: boolean
  readonly testId?: string
  readonly children: ReactNode
}

function useFold({ holds, pointers }: FoldProps) {
  const { problems } = useEditing()
  const [chosen, setChosen] = useState<boolean>()
  const set = holds.some((label) => typeof label === 'string')
  // What was set and is switched off does not fold away under the pointer.
  const [wasSet, setWasSet] = useState(set)
  if (set && !wasSet) setWasSet(true)
  const faulty = problems.some(({ field }) => pointers.some((pointer) => field === pointer || field.startsWith(`${pointer}/`)))
  const open = faulty || (chosen ?? wasSet)
  return { open, toggle: () => setChosen(!open), id: useId() }
}

function Head({ fold, title, order, note, holds }: Pick<FoldProps, 'title' | 'note' | 'holds'> & { readonly fold: ReturnType<typeof useFold>; readonly order: 2 | 3 }) {
  const { t } = useTranslation()
  const Chevron = fold.open ? IconChevronDown : IconChevronRight
  const labels = holds.filter((label): label is string => typeof label === 'string')
  return (
    <>
      <Group gap="xs" align="baseline">
        <Title order={order} {...(order === 3 ? { fz: 'sm' } : {})}>
          <button type="button" className="h-fold" aria-expanded={fold.open} aria-controls={fold.open ? fold.id : undefined} onClick={fold.toggle}>
            <Chevron size={16} stroke={1.7} aria-hidden />
            {title}
          </button>
        </Title>
        {note !== undefined && <Text c="dimmed" size="xs">{note}</Text>}
      </Group>
      {!fold.open && <Text c="dimmed" size="xs">{labels.length === 0 ? t('fold.defaults') : labels.join(' · ')}</Text>}
    </>
  )
}

/** A panel of an editor page. */
export function FoldingPanel(props: FoldProps) {
  const fold = useFold(props)
  return (
    <section className="h-panel" data-testid={props.testId}>
      <header className="h-panel-head h-fold-head" data-folded={!fold.open}>
        <Head fold={fold} order={2} title={props.title} note={props.note} holds={props.holds} />
      </header>
      {fold.open && <div id={fold.id} className={props.flush === true ? 'h-panel-flush' : 'h-panel-body'}>{props.children}</div>}
    </section>
  )
}

/** A part within a panel. */
export function FoldingPart(props: FoldProps) {
  const fold = useFold(props)
  return (
    <div className="h-fold-part" data-testid={props.testId}>
      <div className="h-fold-head">
        <Head fold={fold} order={3} title={props.title} note={props.note} holds={props.holds} />
      </div>
      {fold.open && <div id={fold.id} className="h-fold-body">{props.children}</div>}
    </div>
  )
}
