//! Rows for each conversion and escape of `-F`, and for the other forms of output.

use super::row::{Row, subscribe};

/// The options that publish the message of the rows. The properties are in the order in which our programs print them.
const SAMPLE: &str = "-V 5 -t 'fm/top ic' -m hello -q 1 -r -D publish content-type text/plain \
    -D publish correlation-data 'co rr' -D publish payload-format-indicator 1 \
    -D publish response-topic r/t -D publish user-property k1 v1 \
    -D publish user-property k2 'v 2' -D publish user-property k1 dup \
    -D publish message-expiry-interval 3600";

const PLAIN: &str = "-t plain -m hello -r";

/// Formats that are used with and without properties.
const EITHER: &[&str] = &[
    "%%",
    "[%5%]",
    "%A",
    "[%5A]",
    "[%05A]",
    "[%-5A]",
    "%C",
    "[%12C]",
    "[%-12C]",
    "[%.4C]",
    "[%012C]",
    "%D",
    "[%9D]",
    "%F",
    "[%3F]",
    "%l",
    "[%5l]",
    "[%-5l]",
    "[%05l]",
    "%m",
    "[%5m]",
    "%P",
    "[%9P]",
    "%p",
    "[%8p]",
    "[%-8p]",
    "[%08p]",
    "[%3p]",
    "[%.2p]",
    "%q",
    "%r",
    "[%5q]",
    "[%5r]",
    "%R",
    "[%8R]",
    "[%.1R]",
    "%S",
    "[%5S]",
    "[%05S]",
    "%t",
    "[%10t]",
    "[%-10t]",
    "[%.3t]",
    "[%8.3t]",
    "[%-8.3t]",
    "[%08.3t]",
    "%x",
    "%X",
    "a\\tb\\\\c\\0d\\ae\\nf\\rg\\vh\\e",
    "@@",
    "%p%p %t",
    "ä%p€",
];

/// Formats that contain the time.
const TIMES: &[&str] = &[
    "%I",
    "[%30I]",
    "[%.10I]",
    "%U",
    "@s",
    "@N",
    "@Y-@m-@dT@H:@M:@S@z",
    "@F @T",
    "@a @A @b @B @h",
    "@c",
    "@D @x @X",
    "@e @j @u @w @U @V @W @G @g @C @y",
    "@I @l @k @p @P @r @R",
    "@Z",
    "@n@t",
    "@Q",
    "@J@L@f@i@q@E",
];

const ERRORS: &[&str] = &[
    "%", "%5", "%5.", "%-", "@", "%z", "%T", "\\", "\\q", "%i", "%s",
];

pub(crate) fn formats() -> Vec<Row> {
    let mut rows = Vec::new();
    for format in EITHER {
        let row = subscribe(&format!("-V 5 -t 'fm/top ic' -q 1 -C 1 -F '{format}'"));
        rows.push(row.before(SAMPLE));
        rows.push(subscribe(&format!("-t plain -C 1 -F '{format}'")).before(PLAIN));
    }
    for format in TIMES {
        let row = subscribe(&format!("-t plain -C 1 -F '{format}'")).before(PLAIN);
        rows.push(row.any_digits());
    }
    for format in ERRORS {
        rows.push(subscribe(&format!("-t a -F '{format}'")));
    }
    // mosquitto_sub 2.0 has no padding of hexadecimal digits, no separators and no numbers from payloads.
    for format in [
        "[%12x]",
        "[%-12x]",
        "[%012x]",
        "%.2x",
        "%.2:x",
        "%:x",
        "[%020.2:x]",
        "[%4x]",
        "[%2x]",
        "[%:t]",
        "[% p]",
        "[%5 t]",
    ] {
        let row = subscribe(&format!("-t plain -C 1 -F '{format}'")).before(PLAIN);
        rows.push(row.differs("Formats of 2.1"));
    }
    rows.push(subscribe("-t a -F %0-5t").differs("Formats of 2.1"));
    for format in ["%f", "%d"] {
        let row =
            subscribe(&format!("-t plain -C 1 -F '[{format}]'")).before("-t plain -m 12345678 -r");
        rows.push(row.differs("Formats of 2.1"));
    }
    rows.push(
        subscribe("-V 5 -t 'fm/top ic' -q 1 -C 1 -F '[%8E]'")
            .before(SAMPLE)
            .any_digits(),
    );
    rows.extend(json());
    rows.extend(plain());
    rows
}

/// JSON of mosquitto_sub 2.0 differs in `tst` and `retain`, so other rows compare the payload alone.
fn json() -> Vec<Row> {
    let differs = |row: Row| row.any_digits().differs("JSON of 2.1");
    vec![
        differs(subscribe("-t plain -C 1 -F %j").before(PLAIN)),
        differs(subscribe("-V 5 -t 'fm/top ic' -q 1 -C 1 -F %j").before(SAMPLE)),
        differs(subscribe("-t json -C 1 -F %J").before("-t json -m '{\"a\":[1,2.50]}' -r")),
        differs(subscribe("-t json -C 1 --pretty -F %J").before("-t json -m '{\"a\":[1,{}]}' -r")),
        subscribe("-t json -C 1 -F [%J]").before("-t json -m nojson -r"),
    ]
}

fn plain() -> Vec<Row> {
    vec![
        subscribe("-t p/# -C 1").before("-t p/a -m hello -r"),
        subscribe("-t p/# -C 1 -v").before("-t p/a -m hello -r"),
        subscribe("-t p/# -C 1 -N").before("-t p/a -m hello -r"),
        subscribe("-t p/# -C 1 -v -N").before("-t p/a -m hello -r"),
        subscribe("-t p/# -C 1 -v -F %p").before("-t p/a -m hello -r"),
        subscribe("-t p/# -C 1 -F %p -N").before("-t p/a -m hello -r"),
        subscribe("-t p -C 1").then("-t p -n"),
        subscribe("-t p -C 1 -v").then("-t p -n"),
        subscribe("-t p -C 1 -N").then("-t p -n"),
        subscribe("-t p -C 1 -v -N").then("-t p -n"),
        subscribe("-t p -C 1 -F [%p]").then("-t p -n"),
        subscribe("-t p -C 2 -v")
            .then("-t p -m 'two\nlines'")
            .then("-t p -m 'tab\tä'"),
    ]
}
