/** What the pages ask for. The overview comes from the live connection; everything else is fetched when it is shown. */
import { QueryClient, useInfiniteQuery, useQuery } from '@tanstack/react-query'
import type { AuditView, CertificateView, ClusterOverview, ConfigView, DiffView, RevisionSummary, SessionEntriesView, UserView } from '../../../node/api/types.ts'
import { ApiFailure, call } from './client.ts'
import { useLive } from './live.ts'

/** Length of the traffic history, milliseconds. */
export const historyMs = 300_000
export const pageSize = 50

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      // A refusal stays a refusal; only silence and overload are worth another try.
      retry: (count, error) => count < 2 && error instanceof ApiFailure && (error.status === 0 || error.status >= 500),
      retryDelay: (count) => 500 * 2 ** count,
      staleTime: 5_000,
      refetchOnWindowFocus: true,
    },
  },
})

/** Keeps the newest overview and joins its one traffic point to the history that is known already. */
export function rememberOverview(overview: ClusterOverview): void {
  queries.setQueryData<ClusterOverview>(['status'], (before) => {
    if (before === undefined) return overview
    const newest = before.traffic.at(-1)?.atEpochMs ?? 0
    const traffic = [...before.traffic, ...overview.traffic.filter((point) => point.atEpochMs > newest)]
    const oldest = overview.atEpochMs - historyMs
    return { ...overview, traffic: traffic.filter((point) => point.atEpochMs >= oldest) }
  })
}

/** The cluster as this node sees it. While the live connection is down it is asked for every 5 s. */
export function useOverview() {
  const live = useLive()
  return useQuery({
    queryKey: ['status'],
    queryFn: ({ signal }) => call<ClusterOverview>('GET', '/status', { signal }),
    refetchInterval: live.phase === 'lost' ? 5_000 : false,
    staleTime: Number.POSITIVE_INFINITY,
    refetchOnWindowFocus: false,
  })
}

/** A part of the overview; renders again only when that part changed. */
export function useOverviewPart<T>(select: (overview: ClusterOverview) => T): T | undefined {
  return useQuery({
    queryKey: ['status'],
    queryFn: ({ signal }) => call<ClusterOverview>('GET', '/status', { signal }),
    select,
    staleTime: Number.POSITIVE_INFINITY,
    refetchOnWindowFocus: false,
  }).data
}

export function useConfig() {
  return useQuery({ queryKey: ['config'], queryFn: ({ signal }) => call<ConfigView>('GET', '/config', { signal }) })
}

export function useRevisions() {
  return useInfiniteQuery({
    queryKey: ['revisions'],
    initialPageParam: 0,
    queryFn: ({ pageParam, signal }) =>
      call<readonly RevisionSummary[]>('GET', `/config/revisions?limit=${pageSize}${pageParam > 0 ? `&before=${pageParam}` : ''}`, { signal }),
    getNextPageParam: (last) => (last.length < pageSize ? undefined : last.at(-1)?.revision),
  })
}

export function useRevision(revision: number) {
  return useQuery({
    queryKey: ['revision', revision],
    queryFn: ({ signal }) => call<ConfigView>('GET', `/config/revisions/${revision}`, { signal }),
    staleTime: Number.POSITIVE_INFINITY,
  })
}

/** `against` is the older side; 0 is the empty configuration. */
export function useDiff(revision: number, against: number) {
  return useQuery({
    queryKey: ['diff', revision, against],
    queryFn: ({ signal }) => call<DiffView>('GET', `/config/revisions/${revision}/diff?against=${against}`, { signal }),
    enabled: revision > 0 && against >= 0,
    staleTime: Number.POSITIVE_INFINITY,
  })
}

export function useAudit() {
  return useInfiniteQuery({
    queryKey: ['audit'],
    initialPageParam: 0,
    queryFn: ({ pageParam, signal }) =>
      call<readonly AuditView[]>('GET', `/audit?limit=${pageSize}${pageParam > 0 ? `&before=${pageParam}` : ''}`, { signal }),
    getNextPageParam: (last) => (last.length < pageSize ? undefined : last.at(-1)?.index),
  })
}

export function useCertificates() {
  return useQuery({ queryKey: ['certificates'], queryFn: ({ signal }) => call<readonly CertificateView[]>('GET', '/certificates', { signal }) })
}

export function useUsers(enabled: boolean) {
  return useQuery({ queryKey: ['users'], enabled, queryFn: ({ signal }) => call<readonly UserView[]>('GET', '/users', { signal }) })
}

/** `filter`: the query of the search; empty: the whole table. */
export function useSessions(filter: string) {
  return useInfiniteQuery({
    queryKey: ['sessions', filter],
    initialPageParam: 0,
    queryFn: ({ pageParam, signal }) =>
      call<SessionEntriesView>('GET', `/sessions?limit=${pageSize}${pageParam > 0 ? `&after=${pageParam}` : ''}${filter === '' ? '' : `&${filter}`}`, { signal }),
    getNextPageParam: (last) => last.next ?? undefined,
  })
}
