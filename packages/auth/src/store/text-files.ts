/** The disk, as far as access control needs it. */
export interface TextFiles {
  /** Rejects when there is none. */
  read(path: string): Promise<Buffer>;
  /** Changes when the file is written, replaced or linked anew, and when it is missing. Never rejects. */
  stamp(path: string): Promise<string>;
  /** Replaces it at once or not at all. */
  replace(path: string, text: string): Promise<void>;
}
