/** The dense table of all lists: a caption for screen readers, an optional filter, and pages for long lists. */
import { useState, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { Group, Pagination, Table, Text, TextInput } from '@mantine/core'
import { IconSearch } from '@tabler/icons-react'

export interface Column<Row> {
  readonly key: string
  readonly title: ReactNode
  readonly cell: (row: Row, at: number) => ReactNode
  /** Numbers are aligned to the right. */
  readonly numeric?: boolean
  /** CSS width. */
  readonly width?: number | string
  /** Left out on narrow screens. */
  readonly wide?: boolean
}

export interface DataTableProps<Row> {
  readonly caption: string
  readonly columns: readonly Column<Row>[]
  readonly rows: readonly Row[]
  readonly rowKey: (row: Row) => string
  /** Text that the filter searches; without it there is no filter. */
  readonly searchText?: (row: Row) => string
  /** The filter is there for short lists as well: more may be loaded. */
  readonly alwaysFilter?: boolean
  /** Cells with several lines begin at the top. */
  readonly top?: boolean
  readonly minWidth?: number
  readonly pageSize?: number
  readonly testId?: string
  readonly marked?: (row: Row) => boolean
  readonly below?: (row: Row) => ReactNode
}

export function DataTable<Row>(props: DataTableProps<Row>) {
  const { t } = useTranslation()
  const [filter, setFilter] = useState('')
  const [page, setPage] = useState(1)
  const size = props.pageSize ?? 50
  const words = filter.toLowerCase().split(/\s+/).filter((word) => word !== '')
  const search = props.searchText
  const rows = search === undefined || words.length === 0
    ? props.rows
    : props.rows.filter((row) => {
        const text = search(row).toLowerCase()
        return words.every((word) => text.includes(word))
      })
  const pages = Math.max(1, Math.ceil(rows.length / size))
  const shown = rows.slice((Math.min(page, pages) - 1) * size, Math.min(page, pages) * size)
  return (
    <>
      {search !== undefined && (props.rows.length > 8 || props.alwaysFilter === true) && (
        <Group px="sm" py={8} gap="sm" className="h-table-tools">
          <TextInput
            size="xs"
            w={260}
            aria-label={t('table.filter')}
            placeholder={t('table.filter')}
            leftSection={<IconSearch size={14} aria-hidden />}
            value={filter}
            onChange={(event) => {
              setFilter(event.currentTarget.value)
              setPage(1)
            }}
          />
          <Text size="xs" c="dimmed" role="status">
            {t('table.shown', { shown: rows.length, all: props.rows.length })}
          </Text>
        </Group>
      )}
      <Table.ScrollContainer minWidth={props.minWidth ?? 0} type="native">
        <Table className={props.top === true ? 'h-table h-table-top' : 'h-table'} data-testid={props.testId}>
          <caption className="h-hidden">{props.caption}</caption>
          <Table.Thead>
            <Table.Tr>
              {props.columns.map((column) => (
                <Table.Th
                  key={column.key}
                  scope="col"
                  className={columnClass(column)}
                  {...(column.width === undefined ? {} : { style: { width: column.width } })}
                >
                  {column.title}
                </Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {shown.map((row, at) => {
              const below = props.below?.(row)
              const key = props.rowKey(row)
              return [
                <Table.Tr key={key} data-row={key} {...(props.marked?.(row) === true ? { 'data-marked': true } : {})}>
                  {props.columns.map((column) => (
                    <Table.Td key={column.key} className={columnClass(column)}>
                      {column.cell(row, at)}
                    </Table.Td>
                  ))}
                </Table.Tr>,
                below !== undefined && below !== null && below !== false ? (
                  <Table.Tr key={`${key}:below`} className="h-below">
                    <Table.Td colSpan={props.columns.length}>{below}</Table.Td>
                  </Table.Tr>
                ) : null,
              ]
            })}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      {rows.length === 0 && props.rows.length > 0 && (
        <Text c="dimmed" ta="center" py="md">
          {t('table.noMatch')}
        </Text>
      )}
      {pages > 1 && (
        <Group justify="center" py="xs">
          <Pagination
            size="sm"
            total={pages}
            value={Math.min(page, pages)}
            onChange={setPage}
            getControlProps={(control) => ({ 'aria-label': t(`table.${control}`) })}
          />
        </Group>
      )}
    </>
  )
}

function columnClass<Row>(column: Column<Row>): string {
  return `${column.numeric === true ? 'h-number' : ''} ${column.wide === true ? 'h-wide' : ''}`
}
