# Lines of 64 bytes that run at least every other operation: awk -v n=16000 -f lines.awk few many
/^calls=/ { getline; next }
/^0x/ { ran[$1] += FILENAME == ARGV[2] ? $3 : -$3 }
END {
  for (at in ran) if (ran[at] > n / 2) {
    nibble = index("0123456789abcdef", substr(at, length(at) - 1, 1)) - 1
    line = substr(at, 1, length(at) - 2) "." int(nibble / 4)
    if (!(line in seen)) { seen[line]; lines++ }
  }
  print lines
}
