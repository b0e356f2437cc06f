"""The only order of steps: dump → records → passes → score → lake → findings → what people read."""


