"""Figure and ground on photographs with masks: data, scores and contenders."""
