/**
 * A node's report on its way to the others. Gossip is small and may be lost, and a report may list 20,000 members: it
 * travels compressed, and the members in pages, one page a report, which the reader puts together again.
 */
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'
import { Packr } from 'msgpackr'
import type { NodeReport } from '../api/types.ts'

/** So many members are in every report; of more, each is renewed every so many reports. */
export const membersPerPage = 4000
const maxReportBytes = 8 * 1024 * 1024

interface Page {
  readonly report: NodeReport
  /** Where the page's members stand in the whole list, and how long that is. */
  readonly at: number
  readonly total: number
}

const packr = (): Packr => new Packr({ useRecords: false })

export class ReportWriter {
  readonly #packr = packr()
  #at = 0

  /** The next message: the report with one page of its members. */
  write(report: NodeReport): Uint8Array {
    const total = report.members.length
    const at = this.#at < total ? this.#at : 0
    this.#at = at + membersPerPage
    const page: Page = { report: { ...report, members: report.members.slice(at, at + membersPerPage) }, at, total }
    return deflateRawSync(this.#packr.pack(page), { level: constants.Z_BEST_SPEED })
  }
}

export class ReportReader {
  readonly #packr = packr()
  #members: NodeReport['members'] = []
  #revision = -1

  /** The report with all members known so far; undefined when the message is not one of `from` (another version's, say). */
  read(from: string, data: Uint8Array): NodeReport | undefined {
    let page: Page
    try {
      page = this.#packr.unpack(inflateRawSync(data, { maxOutputLength: maxReportBytes })) as Page
    } catch {
      return undefined
    }
    if (page?.report?.id !== from || !Array.isArray(page.report.members)) return undefined
    const { report, at, total } = page
    // Another revision has another list: pages of the two must not be mixed.
    const before = report.revisionInForce === this.#revision ? this.#members : []
    this.#revision = report.revisionInForce
    this.#members = [...before.slice(0, at), ...report.members, ...before.slice(at + report.members.length)].slice(0, total)
    return { ...report, members: this.#members }
  }
}
