/** How a pool's members share its traffic: the algorithm with its options, and limits, order and backups of the members. */
import { useTranslation } from 'react-i18next'
import type { Member, Pool } from '../../../node/api/types.ts'
import { DataTable, type Column } from '../display/DataTable.tsx'
import { useEditing } from '../draft/document.tsx'
import { ChoiceField, NumberField, SwitchField, TextField } from '../draft/Fields.tsx'
import { FoldingPanel } from '../draft/Fold.tsx'
import { editPool, withOptional } from '../draft/operations.ts'

type Hash = NonNullable<Pool['hash']>

const balances = ['round-robin', 'least-connections', 'random-two-choices', 'least-response-time', 'hash', 'first-available'] as const
const inputs = ['source', 'uri', 'path', 'header', 'cookie'] as const
const defaultHash: Hash = { on: 'source', balanceFactor: 0 }

export function BalanceFields({ pool, pointer }: { readonly pool: Pool; readonly pointer: string }) {
  const { t } = useTranslation()
  const { edit } = useEditing()
  const put = (field: string, change: (pool: Pool) => Pool) => edit(`${pointer}/${field}`, editPool(pool.name, change))
  const hash = pool.hash ?? defaultHash
  const putHash = (field: keyof Hash, next: Hash) => put(`hash/${field}`, (before) => ({ ...before, hash: next }))
  const chooseBalance = (balance: Pool['balance']) =>
    put('balance', (before) => {
      // What the other algorithms do not look at goes: it would be refused.
      const kept = balance === 'hash' ? withOptional(before, 'dynamicWeights', undefined) : withOptional(before, 'hash', undefined)
      return { ...kept, balance }
    })
  const chooseInput = (on: Hash['on']) => {
    const named = on === 'header' || on === 'cookie'
    putHash('on', withOptional({ ...hash, on }, 'name', named ? (hash.name ?? '') : undefined))
  }
  return (
    <>
      <ChoiceField
        pointer={`${pointer}/balance`}
        label={t('pool.balance')}
        hint={t(`balance.${pool.balance}Hint`)}
        value={pool.balance}
        choices={balances.map((value) => ({ value, label: t(`balance.${value}`) }))}
        onChange={(value) => chooseBalance(value as Pool['balance'])}
      />
      {pool.balance === 'hash' ? (
        <>
          <ChoiceField
            pointer={`${pointer}/hash/on`}
            label={t('balance.on')}
            hint={t(`hashOn.${hash.on}Hint`)}
            value={hash.on}
            choices={inputs.map((value) => ({ value, label: t(`hashOn.${value}`) }))}
            onChange={(value) => chooseInput(value as Hash['on'])}
          />
          {(hash.on === 'header' || hash.on === 'cookie') && (
            <TextField mono pointer={`${pointer}/hash/name`} label={t(hash.on === 'header' ? 'balance.headerName' : 'balance.cookieName')} hint={t('balance.nameHint')} value={hash.name ?? ''} onChange={(name) => putHash('name', { ...hash, name: name.trim() })} />
          )}
          <NumberField pointer={`${pointer}/hash/balanceFactor`} label={t('balance.factor')} hint={t('balance.factorHint')} unit="%" value={hash.balanceFactor} onChange={(balanceFactor) => putHash('balanceFactor', { ...hash, balanceFactor })} />
        </>
      ) : (
        <SwitchField
          pointer={`${pointer}/dynamicWeights`}
          label={t('balance.dynamic')}
          hint={t('balance.dynamicHint')}
          value={pool.dynamicWeights ?? false}
          onChange={(value) => put('dynamicWeights', (before) => withOptional(before, 'dynamicWeights', value ? true : undefined))}
        />
      )}
      <NumberField
        pointer={`${pointer}/minimumMembers`}
        label={t('balance.minimum')}
        hint={t('balance.minimumHint')}
        value={pool.minimumMembers ?? 1}
        onChange={(value) => put('minimumMembers', (before) => withOptional(before, 'minimumMembers', value === 1 ? undefined : value))}
      />
    </>
  )
}

/** Limits, priority groups and backups. */
export function MemberShares({ pool, pointer }: { readonly pool: Pool; readonly pointer: string }) {
  const { t } = useTranslation()
  const { edit } = useEditing()
  if (pool.members.length === 0) return null
  const put = <K extends keyof Member>(at: number, field: K, value: Member[K] | undefined) =>
    edit(`${pointer}/members/${at}/${field}`, editPool(pool.name, (before) => ({
      ...before, members: before.members.map((member, index) => (index === at ? withOptional(member, field, value) : member)),
    })))
  const indexed = pool.members.map((member, at) => ({ member, at }))
  type Row = (typeof indexed)[number]
  const columns: Column<Row>[] = [
    { key: 'name', title: t('column.name'), cell: ({ member }) => member.name },
    {
      key: 'maxConnections',
      title: t('member.limit'),
      width: '25%',
      cell: ({ member, at }) => (
        <NumberField inTable pointer={`${pointer}/members/${at}/maxConnections`} label={t('member.limitOf', { name: member.name })} value={member.maxConnections ?? 0} onChange={(value) => put(at, 'maxConnections', value === 0 ? undefined : value)} />
      ),
    },
    {
      key: 'priority',
      title: t('member.priority'),
      width: '20%',
      cell: ({ member, at }) => (
        <NumberField inTable pointer={`${pointer}/members/${at}/priority`} label={t('member.priorityOf', { name: member.name })} value={member.priority ?? 0} onChange={(value) => put(at, 'priority', value === 0 ? undefined : value)} />
      ),
    },
    {
      key: 'backup',
      title: t('member.backup'),
      width: '20%',
      cell: ({ member, at }) => (
        <SwitchField inTable pointer={`${pointer}/members/${at}/backup`} label={t('member.backupOf', { name: member.name })} value={member.backup ?? false} onChange={(value) => put(at, 'backup', value ? true : undefined)} />
      ),
    },
  ]
  return (
    <FoldingPanel
      title={t('member.shares')}
      note={t('member.sharesNote')}
      flush
      testId="member-shares"
      pointers={pool.members.flatMap((_, at) => ['maxConnections', 'priority', 'backup'].map((field) => `${pointer}/members/${at}/${field}`))}
      holds={[
        pool.members.some(({ maxConnections }) => maxConnections !== undefined) && t('member.limit'),
        pool.members.some(({ priority }) => priority !== undefined) && t('member.priority'),
        pool.members.some(({ backup }) => backup === true) && t('member.backup'),
      ]}
    >
      <DataTable caption={t('member.shares')} columns={columns} rows={indexed} rowKey={({ at }) => String(at)} minWidth={560} testId="member-shares-editor" />
    </FoldingPanel>
  )
}
