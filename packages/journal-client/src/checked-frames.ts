import { OperatingError } from '@robustmq/core';
import { FrameCursor } from '@robustmq/record-batch';

const cursor = new FrameCursor();

/**
 * Verifies every frame (lengths, header and batch checksums) and leaves out those at the beginning that
 * lie wholly before `fromOffset`. Returns a view. Throws CORRUPT_BATCH: another replica has to serve.
 */
export function checkedFrames(frames: Buffer, fromOffset: number): Buffer {
  let start = 0;
  cursor.reset(frames);
  for (;;) {
    const step = cursor.next();
    if (step === 'end') break;
    const fault = step === 'frame' ? cursor.verify() : cursor.fault;
    if (fault !== undefined) throw corrupt(fault, cursor.end, fromOffset);
    if (cursor.lastOffset < fromOffset && start === cursor.position) start = cursor.end;
  }
  cursor.reset(noBytes);
  return start === 0 ? frames : frames.subarray(start);
}

const noBytes = Buffer.alloc(0);

function corrupt(fault: string, position: number, fromOffset: number): OperatingError {
  return new OperatingError(
    'CORRUPT_BATCH',
    `a frame at byte ${position} of what was read from offset ${fromOffset} fails its check (${fault})`,
  );
}
