/** Form fields bound to the draft: they show the draft's value, the problem of their field and what the draft changed. */
import { useTranslation } from 'react-i18next'
import { NumberInput, Select, Switch, TagsInput, Textarea, TextInput } from '@mantine/core'
import { useEditing, useProblem } from './document.tsx'

interface Bound {
  /** JSON pointer of the field, for its problems; also the key for undo. */
  readonly pointer: string
  readonly label: string
  readonly hint?: string
  /** In a table the column says what the field is: the label is for screen readers only. */
  readonly inTable?: boolean
  readonly testId?: string
}

function useBound(props: Bound) {
  const problem = useProblem()(props.pointer)
  const { mayEdit } = useEditing()
  return {
    ...(props.inTable === true ? { 'aria-label': props.label, size: 'xs' as const } : { label: props.label, description: props.hint }),
    error: problem,
    readOnly: !mayEdit,
    'data-testid': props.testId,
  }
}

export function TextField(props: Bound & { readonly value: string; readonly onChange: (value: string) => void; readonly placeholder?: string; readonly mono?: boolean }) {
  return (
    <TextInput
      {...useBound(props)}
      {...(props.placeholder === undefined ? {} : { placeholder: props.placeholder })}
      classNames={props.mono === true ? { input: 'h-mono' } : {}}
      spellCheck={false}
      autoComplete="off"
      value={props.value}
      onChange={(event) => props.onChange(event.currentTarget.value)}
    />
  )
}

/** Text of several lines. */
export function LongTextField(props: Bound & { readonly value: string; readonly onChange: (value: string) => void; readonly rows: number; readonly mono?: boolean; /** Stands below others, not among them. */ readonly apart?: boolean }) {
  return (
    <Textarea
      {...useBound(props)}
      classNames={props.mono === true ? { input: 'h-mono' } : {}}
      {...(props.apart === true ? { mt: 'sm' } : {})}
      rows={props.rows}
      spellCheck={false}
      value={props.value}
      onChange={(event) => props.onChange(event.currentTarget.value)}
    />
  )
}

/** An emptied field is `null` in the draft, which the checks and the node refuse until a number is there. */
export function NumberField(props: Bound & { readonly value: number; readonly onChange: (value: number) => void; readonly unit?: string }) {
  return (
    <NumberInput
      {...useBound(props)}
      value={props.value ?? ''}
      onChange={(value) => {
        const next = typeof value === 'number' ? value : value === '' ? (null as unknown as number) : Number(value)
        if (!Object.is(next, props.value)) props.onChange(next)
      }}
      allowDecimal={false}
      clampBehavior="none"
      {...(props.unit === undefined ? {} : { rightSection: <span className="h-unit">{props.unit}</span>, rightSectionWidth: 16 + unitWidth(props.unit) })}
    />
  )
}

/** Hangul is wider than Latin; pixels. */
function unitWidth(unit: string): number {
  return [...unit].reduce((width, character) => width + (character >= '\u1100' ? 12 : 7), 0)
}

export function DurationField(props: Bound & { readonly value: string; readonly onChange: (value: string) => void }) {
  const { t } = useTranslation()
  return <TextField {...props} placeholder={t('field.durationExample')} />
}

export function SwitchField(props: Bound & { readonly value: boolean; readonly onChange: (value: boolean) => void; readonly disabled?: boolean }) {
  const { readOnly, ...bound } = useBound(props)
  return (
    <Switch
      {...bound}
      checked={props.value}
      disabled={readOnly || props.disabled === true}
      onChange={(event) => props.onChange(event.currentTarget.checked)}
    />
  )
}

export interface Choice {
  readonly value: string
  readonly label: string
  readonly disabled?: boolean
}

export function ChoiceField(
  props: Bound & {
    readonly value: string
    readonly choices: readonly Choice[]
    readonly onChange: (value: string) => void
    readonly searchable?: boolean
    readonly placeholder?: string
  },
) {
  const { t } = useTranslation()
  const { readOnly, ...bound } = useBound(props)
  return (
    <Select
      {...bound}
      data={[...props.choices]}
      value={props.value}
      disabled={readOnly}
      searchable={props.searchable === true}
      nothingFoundMessage={t('table.noMatch')}
      {...(props.placeholder === undefined ? {} : { placeholder: props.placeholder })}
      onChange={(value) => value !== null && value !== props.value && props.onChange(value)}
    />
  )
}

export function ListField(props: Bound & { readonly values: readonly string[]; readonly onChange: (values: string[]) => void; readonly placeholder: string }) {
  const bound = useBound(props)
  const problemOf = useProblem()
  const inner = props.values.map((_, at) => problemOf(`${props.pointer}/${at}`)).find((text) => text !== undefined)
  return (
    <TagsInput
      {...bound}
      error={bound.error ?? inner}
      value={[...props.values]}
      onChange={props.onChange}
      splitChars={[',', ' ']}
      {...(props.values.length === 0 ? { placeholder: props.placeholder } : {})}
    />
  )
}
