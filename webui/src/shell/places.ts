/** The pages of the navigation, in its order. */
import {
  IconActivity, IconArrowsSplit2, IconCertificate, IconFileCode, IconHistory, IconListDetails, IconNetwork, IconServer2, IconStack2, IconUsers, IconUsersGroup,
} from '@tabler/icons-react'

export const places = [
  { href: '/', word: 'overview', icon: IconActivity, group: 'operate' },
  { href: '/sessions', word: 'sessions', icon: IconUsersGroup, group: 'operate' },
  { href: '/vips', word: 'vips', icon: IconNetwork, group: 'configure' },
  { href: '/listeners', word: 'listeners', icon: IconArrowsSplit2, group: 'configure' },
  { href: '/pools', word: 'pools', icon: IconStack2, group: 'configure' },
  { href: '/certificates', word: 'certificates', icon: IconCertificate, group: 'configure' },
  { href: '/configuration', word: 'configuration', icon: IconFileCode, group: 'configure' },
  { href: '/revisions', word: 'revisions', icon: IconHistory, group: 'configure' },
  { href: '/nodes', word: 'nodes', icon: IconServer2, group: 'administer' },
  { href: '/users', word: 'users', icon: IconUsers, group: 'administer' },
  { href: '/audit', word: 'audit', icon: IconListDetails, group: 'administer' },
] as const
