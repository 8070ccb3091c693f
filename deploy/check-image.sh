#!/usr/bin/env bash
# Runs the COPY and RUN steps of the Dockerfile in an empty folder, up to the user's, and then starts
# the installed copy. Needs Node 20 or newer and npm; no engine. The image build itself is not tested.
set -euo pipefail
cd "$(dirname "$0")/.."
source=$PWD
target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT
cd "$target"
while read -r word rest; do
  case "$word" in
    COPY)
      read -r -a parts <<<"$rest"
      into=${parts[-1]}
      for from in "${parts[@]::${#parts[@]}-1}"; do
        mkdir -p "$(dirname "$into/x")"
        case "$into" in
          ./) git -C "$source" archive HEAD "$from" 2>/dev/null | tar -x || cp "$source/$from" . ;;
          *) git -C "$source" archive HEAD "$from" | tar -x ;;
        esac
      done
      ;;
    RUN)
      case "$rest" in useradd*) continue ;; esac
      echo "+ $rest"
      bash -euo pipefail -c "$rest"
      ;;
  esac
done < <(grep -E '^(COPY|RUN) ' "$source/deploy/Dockerfile")
node_modules/.bin/node packages/cli/bin/robustmq.mjs start --data-dir data \
  --listen 127.0.0.1:0 --mqtt-listen 127.0.0.1:0 --http-listen off >out &
pid=$!
for _ in $(seq 300); do grep -q '^ready ' out && break; sleep 0.1; done
kill -TERM "$pid"
wait "$pid"
grep '^ready ' out
echo "the Dockerfile's steps work; the image build itself is untested here"
