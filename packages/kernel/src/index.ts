export type { CatchUp, CatchUpCursor } from './fan-out/catch-up.ts';
export type { Attachment, AttachOptions, FanOut, FanOutReader } from './fan-out/fan-out.ts';
export type { BrokenBatch, BrokenBatchListener, DecodedBatch } from './log/decoded-batch.ts';
export type { BatchVisitor, LogReader, LogReadOptions, LogReadStep } from './log/log-reader.ts';
export type { LogWriter } from './log/log-writer.ts';
