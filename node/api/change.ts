/**
 * From a request to a command and back: the precondition, the submission, and what each fate means to the client.
 * A change is one command: it is applied whole or not at all.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ProposeResult } from '../../consensus/consensus.ts'
import type { Outcome } from '../state/types.ts'
import type { NodeContext, Submission } from './context.ts'
import { problem } from './problems.ts'

/** How long a node that is behind waits for the revision that a client has seen elsewhere. Milliseconds. */
const catchUpMs = 2000
const pollMs = 20

/**
 * The revision of If-Match (RFC 9110 §13.1.1), known to this node; undefined when the request has been answered.
 *
 * Only one strong entity tag is taken. `*` would mean "whatever is there", which is to overwrite what one has not seen:
 * it is refused, as is a missing header (428, RFC 6585).
 */
export async function precondition(
  request: FastifyRequest,
  reply: FastifyReply,
  context: NodeContext,
): Promise<number | undefined> {
  const header = request.headers['if-match']
  const current = () => context.state().revision
  if (header === undefined || header.trim() === '*') {
    const why =
      header === undefined ? 'Send If-Match' : 'If-Match: * would overwrite changes that you have not seen. Send it'
    problem(
      reply,
      'precondition-required',
      `${why} with the revision that you have read, such as If-Match: "${current()}".`,
      { revision: current() },
    )
    return undefined
  }
  const match = /^\s*"(0|[1-9]\d{0,14})"\s*$/.exec(header)
  if (match === null) {
    problem(
      reply,
      'invalid-if-match',
      `If-Match must be the one entity tag of the configuration that you have read, such as "${current()}"; weak tags and lists are not taken.`,
    )
    return undefined
  }
  const expected = Number(match[1])
  if (expected > current()) await caughtUp(context, expected)
  if (expected !== current()) {
    conflict(reply, expected, current())
    return undefined
  }
  return expected
}

async function caughtUp(context: NodeContext, revision: number): Promise<void> {
  const deadline = performance.now() + catchUpMs
  while (context.state().revision < revision && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

function conflict(reply: FastifyReply, expected: number, current: number): FastifyReply {
  const detail =
    expected > current
      ? `Revision ${expected} does not exist; the current one is ${current}. Nothing was changed.`
      : `You have read revision ${expected}, and the current one is ${current}: somebody else has changed it. Nothing was changed. Read it again, see GET /api/v1/config/revisions/${current}/diff?against=${expected}, and repeat the change.`
  return problem(reply, 'revision-conflict', detail, { revision: current })
}

/** Submits a command. The outcome when it was applied with code `ok` (or `duplicate`); undefined when the request has
 *  been answered with a problem. */
export async function submit(
  context: NodeContext,
  submission: Submission,
  reply: FastifyReply,
): Promise<Outcome | undefined> {
  const result = await context.submit(submission)
  if (!result.ok) {
    refused(reply, result.refusal)
    return undefined
  }
  const { outcome } = result
  switch (outcome.code) {
    case 'ok':
    case 'duplicate':
      return outcome
    case 'revision-conflict':
      conflict(reply, 'expectRevision' in submission ? submission.expectRevision : 0, outcome.revision)
      return undefined
    case 'not-found':
      problem(reply, 'not-found', outcome.detail)
      return undefined
    case 'last-administrator':
      problem(reply, 'last-administrator', outcome.detail)
      return undefined
    case 'invalid':
      problem(reply, submission.kind === 'certificate-put' ? 'invalid-certificate' : 'invalid-document', outcome.detail)
      return undefined
    case 'certificate-changed':
      problem(reply, 'certificate-changed', `Nothing was changed: ${outcome.detail}.`)
      return undefined
    case 'not-supported':
      problem(reply, 'not-supported', `Nothing was changed: ${outcome.detail}.`)
      return undefined
    case 'token-invalid':
    case 'already-initialised':
      problem(reply, 'invalid-request', outcome.detail)
      return undefined
    default:
      throw new Error(`unknown outcome ${String(outcome.code)}`)
  }
}

/** Answers for a proposal that consensus refused. */
export function refused(reply: FastifyReply, refusal: Extract<ProposeResult, { ok: false }>): FastifyReply {
  const { code, detail } = refusal
  if (!refusal.retrySafe) {
    return problem(
      reply,
      'unknown-fate',
      `The change was handed to the cluster, and no answer came in time: it may or may not have been made (${detail}). Before you repeat it, look at GET /api/v1/config and GET /api/v1/audit, on this node or another.`,
    )
  }
  switch (code) {
    case 'too-large':
      return problem(reply, 'too-large', `The change is too large for the cluster's log: ${detail}`)
    case 'invalid':
      return problem(reply, 'membership-refused', `Nothing was changed: ${detail}`)
    case 'not-supported':
      return problem(reply, 'not-supported', `Nothing was changed: ${detail}.`)
    case 'overloaded':
      return problem(reply, 'overloaded', `Nothing was changed: ${detail}`, { retryAfterMs: 1000 })
    case 'stopped':
      return problem(reply, 'stopping', `Nothing was changed: ${detail}. Use another node.`, { retryAfterMs: 2000 })
    case 'no-leader':
    case 'not-leader':
    case 'timeout':
    case 'lost':
      return problem(
        reply,
        'no-quorum',
        `Nothing was changed, because no majority of the cluster's voters can be reached: ${detail}. Reading still works; changes do again as soon as a majority is back.`,
        { retryAfterMs: 1000 },
      )
    default:
      throw new Error(`unknown refusal ${String(code)}`)
  }
}
