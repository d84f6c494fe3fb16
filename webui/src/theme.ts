/** The console's look: one restrained palette for both schemes. Status colours are used for status only. */
import { createTheme, type CSSVariablesResolver, type MantineColorsTuple } from '@mantine/core'

const steel: MantineColorsTuple = [
  '#eef4fb', '#dae6f4', '#b3cce8', '#88b0dc', '#6398d1', '#4a88ca', '#3b7dc4', '#2565a8', '#1d5593', '#12447c',
]
const gray: MantineColorsTuple = [
  '#f6f8fa', '#eef1f4', '#e1e6eb', '#d2d9e0', '#b9c2cc', '#8c97a4', '#6b7683', '#4c5865', '#2f3a46', '#18222d',
]
const dark: MantineColorsTuple = [
  '#dbe1e8', '#b9c3ce', '#98a4b1', '#66727f', '#3a4652', '#2b3641', '#1f2831', '#161d25', '#0f151b', '#0a0f14',
]
const red: MantineColorsTuple = [
  '#fdeeee', '#fadadb', '#f2b1b3', '#eb8589', '#e56065', '#e1484e', '#d5383f', '#b8252c', '#a31d24', '#8c131a',
]

export const theme = createTheme({
  colors: { steel, gray, dark, red },
  primaryColor: 'steel',
  primaryShade: { light: 7, dark: 7 },
  black: '#18222d',
  fontFamily: "'Pretendard Variable', Pretendard, -apple-system, 'Segoe UI', 'Apple SD Gothic Neo', 'Malgun Gothic', sans-serif",
  fontFamilyMonospace: "ui-monospace, SFMono-Regular, 'Cascadia Mono', 'DejaVu Sans Mono', Menlo, Consolas, monospace",
  fontSizes: { xs: '0.75rem', sm: '0.8125rem', md: '0.875rem', lg: '1rem', xl: '1.25rem' },
  spacing: { xs: '0.5rem', sm: '0.75rem', md: '1rem', lg: '1.25rem', xl: '1.75rem' },
  radius: { xs: '2px', sm: '4px', md: '6px', lg: '8px', xl: '12px' },
  defaultRadius: 'sm',
  headings: {
    fontWeight: '650',
    sizes: {
      h1: { fontSize: '1.25rem', lineHeight: '1.35' },
      h2: { fontSize: '0.9375rem', lineHeight: '1.4' },
      h3: { fontSize: '0.875rem', lineHeight: '1.4' },
    },
  },
  cursorType: 'pointer',
  respectReducedMotion: true,
  components: {
    ActionIcon: { defaultProps: { variant: 'subtle', color: 'gray' } },
    Alert: { defaultProps: { radius: 'sm' } },
    Button: { defaultProps: { size: 'xs' } },
    Checkbox: { defaultProps: { size: 'sm' } },
    Modal: { defaultProps: { centered: true, transitionProps: { duration: 120 }, overlayProps: { backgroundOpacity: 0.45 } } },
    NativeSelect: { defaultProps: { size: 'sm' } },
    NumberInput: { defaultProps: { size: 'sm', hideControls: true } },
    PasswordInput: { defaultProps: { size: 'sm' } },
    SegmentedControl: { defaultProps: { size: 'xs' } },
    Select: { defaultProps: { size: 'sm', allowDeselect: false, comboboxProps: { transitionProps: { duration: 80 } } } },
    Table: { defaultProps: { verticalSpacing: 6, horizontalSpacing: 'sm' } },
    TagsInput: { defaultProps: { size: 'sm' } },
    Text: { defaultProps: { size: 'sm' } },
    Textarea: { defaultProps: { size: 'sm' } },
    TextInput: { defaultProps: { size: 'sm' } },
    Tooltip: { defaultProps: { withArrow: true, multiline: true, maw: 340, openDelay: 250, events: { hover: true, focus: true, touch: true } } },
  },
})

/** Colours that have a meaning; `theme.css` and the plots use them by name. All text pairs are at least 4.5:1. */
export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    '--mantine-color-body': '#f1f4f7',
    '--mantine-color-dimmed': '#556270',
    '--mantine-color-placeholder': '#6a7582',
    '--mantine-color-error': '#b8252c',
    '--mantine-color-anchor': '#1d5593',
    '--h-surface': '#ffffff',
    '--h-surface-raised': '#f8fafb',
    '--h-line': '#dde3e9',
    '--h-line-strong': '#c3ccd5',
    '--h-hover': '#f2f6fa',
    '--h-selected': '#e6eef7',
    '--h-ok': '#17753f',
    '--h-warn': '#8a5800',
    '--h-bad': '#b8252c',
    '--h-info': '#1d5593',
    '--h-off': '#556270',
    '--h-ok-soft': '#e7f4ec',
    '--h-warn-soft': '#fcf3e0',
    '--h-bad-soft': '#fcebec',
    '--h-info-soft': '#e8f0f9',
    '--h-plot-1': '#2565a8',
    '--h-plot-2': '#b8252c',
    '--h-plot-3': '#1a7f86',
    '--h-plot-4': '#7a4fa3',
    '--h-plot-grid': '#e8ecf0',
  },
  dark: {
    '--mantine-color-body': '#0f151b',
    '--mantine-color-dimmed': '#98a4b1',
    '--mantine-color-placeholder': '#8792a0',
    '--mantine-color-error': '#ff8a84',
    '--mantine-color-anchor': '#88b8ec',
    '--h-surface': '#161d25',
    '--h-surface-raised': '#1a222b',
    '--h-line': '#28323c',
    '--h-line-strong': '#3a4652',
    '--h-hover': '#1c252e',
    '--h-selected': '#1d3046',
    '--h-ok': '#57c78b',
    '--h-warn': '#e3ab48',
    '--h-bad': '#ff8a84',
    '--h-info': '#88b8ec',
    '--h-off': '#98a4b1',
    '--h-ok-soft': '#12291e',
    '--h-warn-soft': '#2d230f',
    '--h-bad-soft': '#331a1b',
    '--h-info-soft': '#16273a',
    '--h-plot-1': '#6ea8e6',
    '--h-plot-2': '#ff8a84',
    '--h-plot-3': '#56c2c9',
    '--h-plot-4': '#b795e0',
    '--h-plot-grid': '#222b34',
  },
})
