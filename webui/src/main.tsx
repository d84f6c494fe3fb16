/** Composition root of the console. */
import '@mantine/core/styles.css'
import '@mantine/notifications/styles.css'
import '@mantine/spotlight/styles.css'
import 'pretendard/dist/web/variable/pretendardvariable-dynamic-subset.css'
import './console.css'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { MantineProvider, localStorageColorSchemeManager } from '@mantine/core'
import { Notifications } from '@mantine/notifications'
import { QueryClientProvider } from '@tanstack/react-query'
import { App } from './App.tsx'
import { queries } from './api/queries.ts'
import { theme, variables } from './theme.ts'
import { startWords } from './words/words.ts'

const place = document.getElementById('console')
if (place === null) throw new Error('index.html has no #console')
await startWords()
createRoot(place).render(
  <StrictMode>
    <MantineProvider
      theme={theme}
      cssVariablesResolver={variables}
      defaultColorScheme="auto"
      colorSchemeManager={localStorageColorSchemeManager({ key: 'haechi.theme' })}
    >
      <QueryClientProvider client={queries}>
        <Notifications position="top-right" limit={4} autoClose={6000} />
        <App />
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
)
