/** Texts that often cause faults, for bodies, parameters and headers. */

/** Other scripts, directions and widths, parts of characters, and texts with a meaning in other languages. */
export const oddTexts: readonly string[] = [
  "",
  " ",
  "\t",
  "a\r\nb",
  "\0",
  "a\0b",
  "\x1b[31m",
  "\x7f",
  "\ufeffbom",
  "\u00fcber",
  "ﬁancé",
  "e\u0301\u0301\u0301\u0301\u0301",
  "مرحبا",
  "\u202eevil\u202c",
  "שלום",
  "日本語",
  "😀",
  "👩‍👩‍👧‍👦",
  "🇪🇺",
  "\u200b",
  "\u2028\u2029",
  "\ud800",
  "x\udfff",
  "\uffff",
  "\u{10ffff}",
  "١٢٣",
  "１２",
  "İıſ",
  "null",
  "undefined",
  "true",
  "NaN",
  "-Infinity",
  "0x10",
  "1e3",
  "1.0",
  "-0",
  "007",
  "1,5",
  "__proto__",
  "constructor",
  "toString",
  "' or 1=1 --",
  "\\",
  '"',
  "%",
  "%s%n",
  "${7*7}",
  "<script>alert(1)</script>",
  "../../etc/passwd",
  "{}",
  "[]",
];

const long = 70_000;

/** Texts over every limit of the contract. Few, because each is expensive. */
export const hugeTexts: readonly string[] = [
  "x".repeat(long),
  "😀".repeat(long / 4),
  "9".repeat(long),
  "\\".repeat(long),
];

/** Texts for times: days near the example rows, changes of clocks, ends of calendars. */
export const timeTexts: readonly string[] = [
  ...Array.from({ length: 28 }, (_, day) => `2026-03-${String(day + 1).padStart(2, "0")}`),
  ..."2026-03-29 2026-10-25 2024-02-29 2026-02-29 2026-02-30 2026-13-01 2026-00-00 1899-12-31 1900-01-01 9998-12-31"
    .split(" "),
  ..."9999-12-31 0000-01-01 0001-01-01 1970-01-01 2038-01-19 2027-01-01".split(" "),
].flatMap((day) => [
  day,
  ...["T10:00", "T02:30:00", "T24:00", "T10:00Z", "T00:00:00Z", "T23:59:60Z", "T10:00:00.123456789+02:00"]
    .map((time) => day + time),
  ...["T23:59:59.999Z", "T23:59:59+14:00", "T00:00:00-12:00", "T00:00:00+23:59", "T10:00:00+99:99", "T25:61:61Z"]
    .map((time) => day + time),
  `${day}t10:00:00z`,
  ...["00:00", "09:00", "12:00", "13:30", "17:00", "23:59", "24:00"],
]);

/** Texts that fit a pattern or field of the contract. */
export const knownTexts: readonly string[] = [
  ...["EUR", "JPY", "USD", "XXX", "ZZZ", "KWD"],
  ...["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "CET", "GMT", "Etc/GMT+12"],
  ...["Pacific/Apia", "europe/berlin", "+01:00", "Mars/Phobos", "EST5EDT"],
  ...["latest", "00000000.0.0", "zzzzzzzz.zzzzzzzzzzz.zzzzzzzzzzz", "k3v9x2q1.abc4.1z"],
  ...["*", '"1"', 'W/"1"', '"1", "2"', '""'],
];

/** Percent-escapes that are invalid or decode to unusual characters. */
export const oddEscapes: readonly string[] = [
  ..."% %zz %f %ff %c0%80 %ed%a0%80 %f5%80%80%80 %u0041 %00 %0d%0a %2e%2e %2F %5C %25ff %2525 %3F %23 %E2%80%AE".split(
    " ",
  ),
  ...["%F0%9F%98%80", "%31", "+1", "1%20", "1;2", "%EF%BB%BF1", "%c3%28", "%fe%ff"],
];

/** JSON as text, because JavaScript cannot represent most of these values. */
export const oddJson: readonly string[] = [
  ...["null", "true", "false", "0", "-0", "-1", "1.5", "1e0", "1E400", "-1e400", "1e-400", "9007199254740992"],
  ...["9007199254740993", "-9007199254740992", "18446744073709551616", "2147483648", "0.1", "1.005", "999999.999"],
  ...["123456789012345678901234567890", "0.30000000000000004", "2.5e-7"],
  ...['""', '" "', '"1"', '"true"', '"null"', "[]", "{}", "[null]", "[[]]", '[""]', "[{}]", '{"":0}', '{"a":{"b":[]}}'],
  ...['"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"a\\u0000b"', '"\\ud83d\\ude00"', '"\\ufeff"', '"\\u202e"'],
  ...['{"__proto__":{"admin":true}}', '{"constructor":{"prototype":1}}', '{"toString":null}', '{"\\u0000":1}'],
  ...['{"\\ud800":1}', '{"length":1}', '{"a":1,"a":2}', '{"then":1}', '{"toJSON":1}'],
];

/** Expensive JSON: long, wide and deep. */
export const hugeJson: readonly string[] = [
  ...hugeTexts.map((text) => JSON.stringify(text)),
  `"${"x".repeat(60_000)}"`,
  "9".repeat(500),
  `[${Array.from({ length: 10_000 }, (_, index) => index).join()}]`,
  `[${"[],".repeat(10_000)}[]]`,
  `{${Array.from({ length: 4_000 }, (_, index) => `"k${index}":0`).join()}}`,
  ...[10, 31, 32, 33, 1_000, 30_000].map((depth) => "[".repeat(depth) + "]".repeat(depth)),
  ...[31, 32, 33, 5_000].map((depth) => '{"a":'.repeat(depth) + "1" + "}".repeat(depth)),
];

/** Bodies that are not exactly one JSON value. */
export const brokenJson: readonly string[] = [
  ...["", " ", "{", "}", "[", '"', '{"a":}', '{"a":1,}', "{a:1}", "{'a':1}", "// x\n{}", "{}{}", "{} x", "[1,]", "01"],
  ...["+1", ".5", "1.", "0x1", "NaN", "Infinity", "undefined", "nul", "TRUE", '"a\nb"', '"\\x"', '"\\u12"', "\ufeff{}"],
  ...["\u00a0{}", "{}\0", "a=1&b=2", "<a/>", "[".repeat(40_000), '{"a":'.repeat(5_000)],
];
