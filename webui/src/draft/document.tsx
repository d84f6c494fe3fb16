/** What the editors work with: the draft if there is one, else the current revision; and the problems of its fields. */
import { createContext, useCallback, useContext, useMemo, type ReactNode } from 'react'
import { useDebouncedValue } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { useTranslation } from 'react-i18next'
import type { Change, ConfigView, ConfigurationDocument, ValidateResult } from '../../../node/api/types.ts'
import { ApiFailure, call } from '../api/client.ts'
import { useConfig, useOverviewPart } from '../api/queries.ts'
import { useMay } from '../api/session.ts'
import { check, type Finding } from './checks.ts'
import { edit, useDraft, type Draft } from './draft.ts'

export interface FieldProblem {
  readonly field: string
  readonly text: string
}

interface Editing {
  readonly loading: boolean
  readonly failure: Error | null
  readonly retry: () => void
  readonly current: ConfigView | undefined
  readonly draft: Draft | undefined
  /** Draft or current; undefined until the configuration has been read. */
  readonly document: ConfigurationDocument | undefined
  readonly mayEdit: boolean
  readonly edit: (field: string, change: (document: ConfigurationDocument) => ConfigurationDocument) => void
  readonly problems: readonly FieldProblem[]
  /** What the node says about the draft; undefined while it has not answered for this very document. */
  readonly validation: ValidateResult | undefined
  readonly validationFailure: Error | null
  /** The newest revision known, which may be newer than the draft's base. */
  readonly newestRevision: number
}

const Context = createContext<Editing | undefined>(undefined)

export function EditingProvider({ children }: { readonly children: ReactNode }) {
  const { t } = useTranslation()
  const config = useConfig()
  const draft = useDraft()
  const mayEdit = useMay('operator')
  const liveRevision = useOverviewPart((overview) => overview.revision) ?? 0
  const changed = draft !== undefined && draft.differences.length > 0
  const document = draft?.document ?? config.data?.document
  const newestRevision = Math.max(liveRevision, config.data?.revision ?? 0)

  // The node is asked when the typing pauses.
  const [settled] = useDebouncedValue(changed ? draft.document : undefined, 350)
  const validation = useQuery({
    queryKey: ['validate', newestRevision, settled],
    queryFn: ({ signal }) => validate(settled!, signal),
    enabled: settled !== undefined && mayEdit,
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 30_000,
  })
  const fresh = changed && settled === draft.document ? validation.data : undefined

  const problems = useMemo(() => {
    if (!changed) return []
    const found: FieldProblem[] = check(draft.document).map((finding) => ({ field: finding.field, text: findingText(t, finding) }))
    const known = new Set(found.map((problem) => problem.field))
    for (const problem of fresh?.problems ?? []) {
      if (!known.has(problem.field)) found.push({ field: problem.field, text: problem.message })
    }
    return found
  }, [changed, draft, fresh, t])

  const begin = config.data
  const change = useCallback(
    (field: string, apply: (document: ConfigurationDocument) => ConfigurationDocument) => {
      if (begin !== undefined && mayEdit) edit(begin, field, apply)
    },
    [begin, mayEdit],
  )
  const value: Editing = {
    loading: config.isPending,
    failure: config.error,
    retry: () => void config.refetch(),
    current: config.data,
    draft: changed || draft?.canUndo === true || draft?.canRedo === true ? draft : undefined,
    document,
    mayEdit,
    edit: change,
    problems,
    validation: fresh,
    validationFailure: validation.error,
    newestRevision,
  }
  return <Context value={value}>{children}</Context>
}

async function validate(document: ConfigurationDocument, signal: AbortSignal): Promise<ValidateResult> {
  try {
    return await call<ValidateResult>('POST', '/config/validate', { body: document, signal })
  } catch (error) {
    // A document that does not even have the right shape may be refused as a whole.
    if (error instanceof ApiFailure && error.problem?.problems !== undefined) {
      return { valid: false, problems: error.problem.problems, changes: [] as readonly Change[] }
    }
    throw error
  }
}

/** Every code has its text; the compiler gives up on the product of all texts and values, so it is told only what is used here. */
type CheckText = (key: `check.${Finding['code']}`, values: { readonly value: string; readonly min: number; readonly max: number }) => string

function findingText(t: unknown, finding: Finding): string {
  return (t as CheckText)(`check.${finding.code}`, { value: finding.value ?? '', min: finding.min ?? 0, max: finding.max ?? 0 })
}

export function useEditing(): Editing {
  const value = useContext(Context)
  if (value === undefined) throw new Error('useEditing outside of EditingProvider')
  return value
}

/** The problem of one field, by JSON pointer; undefined when there is none. */
export function useProblem(): (pointer: string) => string | undefined {
  const { problems } = useEditing()
  return useCallback((pointer: string) => problems.find((problem) => problem.field === pointer)?.text, [problems])
}
