/** A state as colour, icon and word together, so that none of them has to be relied on alone. */
import type { ReactNode } from 'react'
import { IconAlertTriangle, IconCircleCheck, IconCircleMinus, IconCircleX, IconInfoCircle, IconProgress } from '@tabler/icons-react'

export type StatusKind = 'ok' | 'warn' | 'bad' | 'info' | 'off' | 'busy'

const icons = {
  ok: IconCircleCheck,
  warn: IconAlertTriangle,
  bad: IconCircleX,
  info: IconInfoCircle,
  off: IconCircleMinus,
  busy: IconProgress,
} as const

export function StatusIcon({ kind, size = 15 }: { readonly kind: StatusKind; readonly size?: number }) {
  const Icon = icons[kind]
  return <Icon size={size} stroke={2} className={`h-status-${kind}`} aria-hidden />
}

export function Status({ kind, children }: { readonly kind: StatusKind; readonly children: ReactNode }) {
  return (
    <span className={`h-status h-status-${kind}`}>
      <StatusIcon kind={kind} />
      <span>{children}</span>
    </span>
  )
}
