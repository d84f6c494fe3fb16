/** The frame around all pages: header, navigation, banners, the page, the draft bar. Pages are loaded when first opened. */
import { Suspense, lazy, useEffect, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { AppShell, NavLink } from '@mantine/core'
import { useDisclosure, useHotkeys } from '@mantine/hooks'
import { spotlight } from '@mantine/spotlight'
import { Link, Route, Switch, useLocation } from 'wouter'
import { connectLive } from '../api/live.ts'
import { queries, rememberOverview } from '../api/queries.ts'
import { currentUserName, sessionEnded } from '../api/session.ts'
import { ErrorBoundary } from './ErrorBoundary.tsx'
import { EditingProvider, useEditing } from '../draft/document.tsx'
import { DraftBar } from '../draft/DraftBar.tsx'
import { notify } from '../display/notify.ts'
import { EmptyState, Waiting } from '../display/Panel.tsx'
import { Overview } from '../pages/Overview.tsx'
import { ConnectionBanner } from './ConnectionBanner.tsx'
import { Header } from './Header.tsx'
import { places } from './places.ts'

const Pools = lazy(async () => ({ default: (await import('../pages/Pools.tsx')).Pools }))
const PoolPage = lazy(async () => ({ default: (await import('../pages/PoolPage.tsx')).PoolPage }))
const Listeners = lazy(async () => ({ default: (await import('../pages/Listeners.tsx')).Listeners }))
const ListenerPage = lazy(async () => ({ default: (await import('../pages/ListenerPage.tsx')).ListenerPage }))
const Vips = lazy(async () => ({ default: (await import('../pages/Vips.tsx')).Vips }))
const VipPage = lazy(async () => ({ default: (await import('../pages/Vips.tsx')).VipPage }))
const Revisions = lazy(async () => ({ default: (await import('../pages/Revisions.tsx')).Revisions }))
const RevisionPage = lazy(async () => ({ default: (await import('../pages/RevisionPage.tsx')).RevisionPage }))
const Nodes = lazy(async () => ({ default: (await import('../pages/Nodes.tsx')).Nodes }))
const Audit = lazy(async () => ({ default: (await import('../pages/Audit.tsx')).Audit }))
const Users = lazy(async () => ({ default: (await import('../pages/Users.tsx')).Users }))
const Certificates = lazy(async () => ({ default: (await import('../pages/Certificates.tsx')).Certificates }))
const Sessions = lazy(async () => ({ default: (await import('../pages/Sessions.tsx')).Sessions }))
const Configuration = lazy(async () => ({ default: (await import('../pages/Configuration.tsx')).Configuration }))
const Review = lazy(async () => ({ default: (await import('../draft/Review.tsx')).Review }))
const CommandPalette = lazy(async () => ({ default: (await import('./CommandPalette.tsx')).CommandPalette }))

export function Shell() {
  return (
    <EditingProvider>
      <Frame />
    </EditingProvider>
  )
}

function Frame() {
  const { t } = useTranslation()
  const [location] = useLocation()
  const [menuOpen, setMenuOpen] = useState(false)
  const { draft } = useEditing()
  const [reviewing, review] = useDisclosure(false)
  // Here and not in the palette, which is loaded later: a key pressed before that would be lost.
  useHotkeys([['mod+K', spotlight.toggle]], ['INPUT', 'TEXTAREA', 'SELECT'])

  useEffect(
    () =>
      connectLive((message) => {
        if (message.type === 'overview') rememberOverview(message.overview)
        else if (message.type === 'signed-out') sessionEnded()
        else {
          void queries.invalidateQueries({ queryKey: ['config'] })
          void queries.invalidateQueries({ queryKey: ['revisions'] })
          void queries.invalidateQueries({ queryKey: ['audit'] })
          if (message.author !== currentUserName()) {
            notify(message.comment === '' ? t('live.noComment') : message.comment, t('live.revisionTitle', { revision: message.revision, author: message.author }))
          }
        }
      }),
    [t],
  )
  useEffect(() => {
    if (location !== '') window.scrollTo(0, 0)
  }, [location])

  return (
    <AppShell
      header={{ height: 48 }}
      navbar={{ width: 196, breakpoint: 'sm', collapsed: { mobile: !menuOpen } }}
      footer={{ height: 52, collapsed: draft === undefined }}
      padding="md"
      transitionDuration={0}
    >
      <a className="h-skip" href="#page">
        {t('nav.skip')}
      </a>
      <AppShell.Header>
        <Header menuOpen={menuOpen} toggleMenu={() => setMenuOpen(!menuOpen)} />
      </AppShell.Header>
      <AppShell.Navbar aria-label={t('nav.label')} className="h-nav">
        {(['operate', 'configure', 'administer'] as const).map((group) => (
          <div key={group} className="h-nav-group">
            <div className="h-nav-title" aria-hidden>
              {t(`nav.${group}`)}
            </div>
            {places
              .filter((place) => place.group === group)
              .map((place) => {
                const active = place.href === '/' ? location === '/' : location === place.href || location.startsWith(`${place.href}/`)
                return (
                  <NavLink
                    key={place.href}
                    component={Link}
                    href={place.href}
                    label={t(`nav.${place.word}`)}
                    leftSection={<place.icon size={16} stroke={1.7} aria-hidden />}
                    active={active}
                    onClick={() => setMenuOpen(false)}
                    aria-current={active ? 'page' : undefined}
                  />
                )
              })}
          </div>
        ))}
      </AppShell.Navbar>
      <AppShell.Main id="page" tabIndex={-1}>
        <ConnectionBanner />
        <ErrorBoundary key={location}>
          <Suspense fallback={<Waiting />}>
            <Switch>
              <Route path="/" component={Overview} />
              <Route path="/vips" component={Vips} />
              <Route path="/vips/:name">{({ name }) => <VipPage key={name} name={name} />}</Route>
              <Route path="/listeners" component={Listeners} />
              <Route path="/listeners/:name">{({ name }) => <ListenerPage key={name} name={name} />}</Route>
              <Route path="/pools" component={Pools} />
              <Route path="/pools/:name">{({ name }) => <PoolPage key={name} name={name} />}</Route>
              <Route path="/certificates" component={Certificates} />
              <Route path="/sessions" component={Sessions} />
              <Route path="/configuration" component={Configuration} />
              <Route path="/revisions" component={Revisions} />
              <Route path="/revisions/:n">{({ n }) => <RevisionPage key={n} revision={Number(n)} />}</Route>
              <Route path="/nodes" component={Nodes} />
              <Route path="/users" component={Users} />
              <Route path="/audit" component={Audit} />
              <Route>
                <EmptyState title={t('notFound.title')} next={t('notFound.next')} />
              </Route>
            </Switch>
          </Suspense>
        </ErrorBoundary>
      </AppShell.Main>
      {draft !== undefined && (
        <AppShell.Footer>
          <DraftBar review={review.open} />
        </AppShell.Footer>
      )}
      <Suspense fallback={null}>
        <Review opened={reviewing} close={review.close} />
      </Suspense>
      <Suspense fallback={null}>
        <CommandPalette />
      </Suspense>
    </AppShell>
  )
}
