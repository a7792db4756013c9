import { createTheme, type CSSVariablesResolver, type MantineColorsTuple } from "@mantine/core";

const harbour: MantineColorsTuple = [
  "#eef3ff", "#dbe4fb", "#b5c7f3", "#8ba8ec", "#688de6", "#527ce3", "#4674e2", "#3763c9", "#2d58b4", "#1c4b9f",
];

/** Greys of the dark scheme, from text to what lies deepest: one hue, close steps. */
const dark: MantineColorsTuple = [
  "#d6d9df", "#b9bfc9", "#9aa1ac", "#6b717b", "#33363c", "#2a2c31", "#1c1e22", "#141518", "#111214", "#0b0c0d",
];

export const theme = createTheme({
  primaryColor: "harbour",
  primaryShade: 7,
  colors: { harbour, dark },
  autoContrast: true,
  defaultRadius: "md",
  fontFamily: '"Inter Variable", system-ui, sans-serif',
  fontFamilyMonospace: '"JetBrains Mono", ui-monospace, monospace',
  fontSizes: { xs: "0.75rem", sm: "0.8125rem", md: "0.875rem", lg: "1rem", xl: "1.125rem" },
  headings: { fontWeight: "600", sizes: { h1: { fontSize: "1.25rem" }, h2: { fontSize: "1rem" }, h3: { fontSize: "0.875rem" } } },
  components: {
    Table: { defaultProps: { verticalSpacing: 7, horizontalSpacing: "sm", highlightOnHover: true } },
    Button: { defaultProps: { size: "xs" } },
    ActionIcon: { defaultProps: { variant: "subtle", color: "gray" } },
    TextInput: { defaultProps: { size: "xs" } },
    Select: { defaultProps: { size: "xs" } },
    Textarea: { defaultProps: { size: "xs" } },
    MultiSelect: { defaultProps: { size: "xs" } },
    Autocomplete: { defaultProps: { size: "xs" } },
    NumberInput: { defaultProps: { size: "xs" } },
    SegmentedControl: { defaultProps: { size: "xs" } },
    Badge: { defaultProps: { variant: "light", size: "sm", radius: "sm", tt: "none", fw: 500 }, classNames: { root: "badge" } },
    Modal: { defaultProps: { closeButtonProps: { "aria-label": "Close" } } },
    Tooltip: { defaultProps: { openDelay: 300 } },
  },
});

/** Colours of text that are told apart from what is behind them, 4.5 to 1 at least. */
export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    "--mantine-color-default-border": "#d8dbe0",
    "--mantine-color-dimmed": "#5b616b",
    "--mantine-color-placeholder": "#6b717b",
    "--mantine-color-yellow-light-color": "#7a4b00",
    "--mantine-color-orange-light-color": "#8f3a00",
    "--mantine-color-teal-light-color": "#0a5c48",
    "--mantine-color-red-light-color": "#a3201b",
    "--mantine-color-gray-light-color": "#495057",
    "--mantine-color-grape-light-color": "#7b2a8e",
    "--mantine-color-harbour-light-color": "#1c4b9f",
    "--mantine-color-red-text": "#a3201b",
    "--mantine-color-teal-filled": "#0b7a5f",
    "--mantine-color-teal-filled-hover": "#0a6b54",
  },
  dark: {
    "--mantine-color-dimmed": "#a3a9b4",
    "--mantine-color-placeholder": "#9299a5",
    "--mantine-color-yellow-light-color": "#ffe28a",
    "--mantine-color-orange-light-color": "#ffc78a",
    "--mantine-color-teal-light-color": "#8fe3c9",
    "--mantine-color-red-light-color": "#ffb3ae",
    "--mantine-color-gray-light-color": "#ced4da",
    "--mantine-color-grape-light-color": "#e5b6f2",
    "--mantine-color-harbour-light-color": "#b5c7f3",
    "--mantine-color-red-text": "#ffa8a3",
  },
});
