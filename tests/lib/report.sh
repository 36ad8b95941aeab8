# Sourced by tests/run: runs suites, keeps a log of each, sums their counts.

passed_sum=0
failed_sum=0
suite_child=

# counts LOG: "passed failed" of a suite's output, in the forms of cargo and of our own runners.
counts() {
  awk '
    /^test result: / { for (i = 1; i < NF; i++) { if ($(i + 1) ~ /^passed/) p += $i; if ($(i + 1) ~ /^failed/) f += $i } }
    /^[0-9]+ passed, [0-9]+ failed/ { p += $1; f += $3 }
    END { print p + 0, f + 0 }' "$1"
}

# run_suite NAME COMMAND…: the command's last word is its exit code; a suite that counts nothing has failed.
run_suite() {
  local name=$1 log=$log_dir/$1.log start=$SECONDS code=0 passed failed
  shift
  "$@" >"$log" 2>&1 &
  suite_child=$!
  wait "$suite_child" || code=$?
  suite_child=
  read -r passed failed < <(counts "$log")
  if [ "$code" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
  if [ "$passed" -eq 0 ] && [ "$failed" -eq 0 ]; then failed=1; echo "$name ran no test" >>"$log"; fi
  passed_sum=$((passed_sum + passed))
  failed_sum=$((failed_sum + failed))
  printf '%-16s %4d passed, %d failed  (%d s)\n' "$name" "$passed" "$failed" $((SECONDS - start))
  if [ "$failed" -ne 0 ]; then
    grep -E '^(FAIL |test .* FAILED|error(\[|:)|thread .* panicked|---- )' "$log" | cut -c1-400 | head -20 | sed 's/^/    /' || true
    echo "    log: $log; its last lines:"
    tail -15 "$log" | cut -c1-400 | sed 's/^/    | /'
  fi
}

# fail_suite NAME REASON: a suite that cannot run is a failure, never skipped silently.
fail_suite() {
  failed_sum=$((failed_sum + 1))
  printf '%-16s %4d passed, %d failed  %s\n' "$1" 0 1 "$2"
}
