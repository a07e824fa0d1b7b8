/** The file of a model's folder that holds the plan of a recipe, or what calibration saw for it. */
export const fileOf = (kind: 'plan' | 'stats', recipe: string): string => `${kind}.${recipe}.safetensors`;
