/** A short message that goes away by itself; for what is worth knowing and asks for nothing. */
import i18next from 'i18next'
import { notifications } from '@mantine/notifications'

export function notify(message: string, title?: string): void {
  notifications.show({ message, ...(title === undefined ? {} : { title }), closeButtonProps: { 'aria-label': i18next.t('action.close') } })
}
