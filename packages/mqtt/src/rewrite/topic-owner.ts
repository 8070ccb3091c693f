/** For whom topics are rewritten and subscribed to. */
export interface TopicOwner {
  readonly clientId: string;
  /** Empty: none. */
  readonly user: string;
}

/** The text as one level of a topic; undefined when it cannot be one. */
export function ownLevel(text: string): string | undefined {
  return text === '' || /[/+#]/.test(text) ? undefined : text;
}
