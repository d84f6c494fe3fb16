/** The last five minutes of one kind of traffic as a plot. All plots of a page share their cursor. */
import 'uplot/dist/uPlot.min.css'
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { useComputedColorScheme } from '@mantine/core'
import uPlot from 'uplot'
import type { TrafficPoint } from '../../../node/api/types.ts'
import { historyMs } from '../api/queries.ts'
import { useFormat, type Quantity } from '../display/format.ts'

export interface Line {
  readonly label: string
  readonly value: (point: TrafficPoint) => number
  /** Name of a colour of the theme. */
  readonly color: '--h-plot-1' | '--h-plot-2' | '--h-plot-3' | '--h-plot-4'
}

export interface TrafficPlotProps {
  readonly title: string
  readonly lines: readonly Line[]
  readonly points: readonly TrafficPoint[]
  readonly nowEpochMs: number
  /** The scale reaches at least this high, so that a quiet cluster looks quiet. */
  readonly leastTop: number
  readonly format: (value: number) => Quantity
}

/** What the functions that uPlot keeps must see, without the plot being made anew. */
interface Latest {
  readonly data: uPlot.AlignedData
  readonly format: (value: number) => Quantity
  readonly clock: (epochMs: number) => string
  readonly range: [number, number]
}

const plotHeight = 150

export default function TrafficPlot(props: TrafficPlotProps) {
  const { t } = useTranslation()
  const format = useFormat()
  const scheme = useComputedColorScheme('light')
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>(undefined)
  const [at, setAt] = useState<number | null>(null)
  const { lines, points, nowEpochMs, leastTop } = props
  const data = useMemo<uPlot.AlignedData>(
    () => [points.map((point) => point.atEpochMs / 1000), ...lines.map((line) => points.map(line.value))],
    [points, lines],
  )
  const latest = useRef<Latest>({ data: [[]], format: props.format, clock: format.clock, range: [0, 1] })
  useLayoutEffect(() => {
    latest.current = { data, format: props.format, clock: format.clock, range: [(nowEpochMs - historyMs) / 1000, nowEpochMs / 1000] }
  })
  const colors = lines.map((line) => line.color).join()

  useEffect(() => {
    const box = place.current
    if (box === null) return
    const style = getComputedStyle(document.documentElement)
    const color = (name: string) => style.getPropertyValue(name).trim()
    const font = `11px ${style.getPropertyValue('--mantine-font-family')}`
    const axis = { stroke: color('--mantine-color-dimmed'), font, grid: { stroke: color('--h-plot-grid'), width: 1 }, ticks: { show: false } }
    const made = new uPlot(
      {
        width: Math.max(120, box.clientWidth),
        height: plotHeight,
        padding: [8, 6, 0, 0],
        legend: { show: false },
        cursor: { sync: { key: 'traffic' }, y: false, drag: { x: false, y: false }, points: { size: 6 } },
        hooks: { setCursor: [(self) => setAt(self.cursor.idx ?? null)] },
        scales: {
          x: { time: true, range: () => latest.current.range },
          y: { range: (_self, _low, high) => [0, Math.max(leastTop, (high ?? 0) * 1.1)] },
        },
        axes: [
          { ...axis, size: 22, space: 70, values: (_self, splits) => splits.map((split) => latest.current.clock(split * 1000).slice(0, 5)), incrs: [60, 120, 300] },
          {
            ...axis,
            size: 66,
            space: 34,
            values: (_self, splits) => splits.map((split) => {
              const { value, unit } = latest.current.format(split)
              return `${value} ${unit}`
            }),
          },
        ],
        series: [
          {},
          ...colors.split(',').map((name, index) => ({
            stroke: color(name),
            width: 1.5,
            points: { show: false },
            ...(index === 0 ? { fill: `${color(name)}1f` } : {}),
          })),
        ],
      },
      latest.current.data,
      box,
    )
    plot.current = made
    const observer = new ResizeObserver(() => made.setSize({ width: Math.max(120, box.clientWidth), height: plotHeight }))
    observer.observe(box)
    return () => {
      observer.disconnect()
      made.destroy()
      plot.current = undefined
    }
  }, [scheme, colors, leastTop])

  useEffect(() => plot.current?.setData(data), [data])

  const point = at === null ? points.at(-1) : (points[at] ?? points.at(-1))
  const shown = lines.map((line) => ({ line, ...props.format(point === undefined ? 0 : line.value(point)) }))
  const spoken = shown.map(({ line, value, unit }) => `${line.label} ${value} ${unit}`).join(', ')
  return (
    <div className="h-plot">
      <div className="h-plot-head">
        <span className="h-plot-title">{props.title}</span>
        <span className="h-plot-values">
          {shown.map(({ line, value, unit }) => (
            <span key={line.label}>
              <i style={{ background: `var(${line.color})` }} aria-hidden />
              {lines.length > 1 ? `${line.label} ` : ''}
              <strong>{value}</strong> <span className="h-unit">{unit}</span>
            </span>
          ))}
          <span className="h-plot-at">{at === null || point === undefined ? t('traffic.now') : format.clock(point.atEpochMs)}</span>
        </span>
      </div>
      <div ref={place} className="h-plot-canvas" role="img" aria-label={t('traffic.spoken', { title: props.title, values: spoken })} />
    </div>
  )
}
