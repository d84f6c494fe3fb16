/** While this node does not answer: since when, and which other nodes' consoles can be used instead. */
import { useTranslation } from 'react-i18next'
import { Alert, Anchor, Button, Group, Text } from '@mantine/core'
import { retryLive, useLive } from '../api/live.ts'
import { useOverviewPart } from '../api/queries.ts'
import { Since, useNow } from '../display/Values.tsx'

/** The console of another node, at the same page. `apiAddress` may be an origin or `host:port`. */
export function consoleOf(apiAddress: string): string {
  const origin = /^https?:\/\//.test(apiAddress) ? apiAddress.replace(/\/$/, '') : `${location.protocol}//${apiAddress}`
  return origin + location.pathname
}

/** A blip is not worth a banner, milliseconds. */
const blipMs = 1_500

export function ConnectionBanner() {
  const live = useLive()
  return live.phase === 'lost' ? <Lost sinceEpochMs={live.sinceEpochMs} /> : null
}

function Lost({ sinceEpochMs }: { readonly sinceEpochMs: number }) {
  const { t } = useTranslation()
  const now = useNow(500)
  const others = useOverviewPart((overview) => overview.nodes.filter((node) => !node.self && node.apiAddress !== ''))
  if (now - sinceEpochMs < blipMs) return null
  return (
    <Alert color="red" variant="light" mb="md" role="alert" title={t('live.bannerTitle')} data-testid="connection-lost" className="h-alert-bad">
      <Text>
        {t('live.bannerSince')} <Since at={sinceEpochMs} />. {t('live.bannerNext')}
      </Text>
      <Group gap="md" mt={6}>
        {(others ?? []).map((node) => (
          <Anchor key={node.id} href={consoleOf(node.apiAddress)} fw={600}>
            {node.id} ({node.apiAddress})
          </Anchor>
        ))}
        <Button variant="default" size="compact-xs" onClick={retryLive}>
          {t('live.retryNow')}
        </Button>
      </Group>
    </Alert>
  )
}
