//! Command lines for each option of mosquitto_pub, mosquitto_sub and mosquitto_rr, and for combinations of options.
//! `row.rs` describes the parts of a row. `differs` names the heading of docs/differences.md for a deliberate
//! difference.

use super::row::{Row, publish, request, subscribe};

pub(crate) fn publishing() -> Vec<Row> {
    vec![
        publish("-t a -m x"),
        publish("--topic a --message x"),
        publish("-t a -m x -q 1"),
        publish("-t a -m x --qos 2"),
        publish("-t a -m x -q 2 -V 5"),
        publish("-t a -m x -q 1 -V 31"),
        publish("-t a -m '' -r"),
        publish("-t a -m -q"),
        publish("-t -t -m --"),
        publish("-t a -n"),
        publish("-t a --null-message --retain"),
        publish("-t a -m x -r -q 1"),
        publish("-t a -m x -q 0 -q 2"),
        publish("-t a -t b -m x"),
        publish("-t a -s").input("two\nlines\n"),
        publish("-t a --stdin-file").input(b"\0\xff".to_vec()),
        publish("-t a -f {home}/.config/mosquitto_pub").file("-q 0\n"),
        publish("-t a -l").input("1\n\n3\r\n4"),
        publish("-t a --stdin-line -q 1").input("1\n2\n3\n"),
        publish("-t a -l -q 2").input("1\n"),
        publish("-t a -l").input(""),
        publish("-t a -m x --repeat 3"),
        publish("-t a -m x --repeat 2 -q 1"),
        publish("-t a -m x --repeat 2 --repeat-delay 0.05 -q 2"),
        publish("-t a -m x --repeat 3 --repeat-delay 0.05"),
        publish("-t a -m x --repeat-delay 5"),
        publish("-m -D -t user-property -q 1"),
        publish("-t a -l --repeat 3").input("1\n2\n"),
        publish("-t a -m x -d").differs("Packet lines"),
        publish("-t a -m x -q 1 -d"),
        publish("-t a -m x -q 2 -r -i me --debug"),
        publish("-t a -m x -q 1 -V 5 -i me -d"),
        publish("-t a -m x --quiet"),
        publish("-t ä€ -m ä"),
        publish("-t $SYS/x -m x -q 1"),
        publish("-t a -m x -M 1 -q 1"),
        publish("-t a -m x --nodelay"),
    ]
}

pub(crate) fn subscribing() -> Vec<Row> {
    let three = |row: Row| {
        row.before("-t r/1 -m 1 -r -q 1")
            .before("-t r/2 -m 2 -r -q 1")
            .before("-t r/3 -m 3 -r -q 1")
    };
    vec![
        subscribe("-t a -C 1").then("-t a -m x"),
        subscribe("--topic a -C 1 --verbose").then("-t a -m x"),
        subscribe("-t a -t b -t a -C 2 -v -q 1")
            .then("-t b -m x -q 1")
            .then("-t a -m y -q 1"),
        subscribe("-t a -C 1 -q 1").then("-t a -m x -q 2"),
        subscribe("-t a -C 1 --qos 2").then("-t a -m x -q 2"),
        subscribe("-t a -C 1 -q 2 -V 5 -i me").then("-t a -m x -q 2"),
        subscribe("-t a -C 1 -V 31").then("-t a -m x"),
        subscribe("-t a -C 30 -V 5 -W 1"),
        subscribe("-t a -C 10 -V 5 -W 1 -D connect receive-maximum 15"),
        subscribe("-t a -C 10 -V 5 -W 1 -D connect receive-maximum 5"),
        subscribe("-t a -C 5 -V 5 -W 1"),
        subscribe("-t a -E"),
        subscribe("-t a -E -V 5"),
        subscribe("-t a -U b -C 1").then("-t a -m x"),
        subscribe("-t a -W 1"),
        subscribe("-t a -W 1 -V 5 --quiet"),
        subscribe("-t a -C 2 -W 1 -v").then("-t a -m x"),
        subscribe("-t r/# -R -C 1 -v")
            .before("-t r/1 -m 1 -r")
            .then("-t r/2 -m 2"),
        subscribe("-t r/# -R -C 1 -v -V 5")
            .before("-t r/1 -m 1 -r")
            .then("-t r/2 -m 2"),
        three(subscribe("-t r/# --retained-only -v")).then("-t r/4 -m 4"),
        three(subscribe("-t r/# --retained-only -W 1 -v")),
        three(subscribe("-t r/# -v -C 3")),
        three(subscribe("-t r/1 --remove-retained -v -C 1 -W 1")).differs("--remove-retained ends"),
        three(subscribe("-t r/# -T r/2 -v -C 2")),
        three(subscribe("-t r/# --filter-out r/+ -v -C 1")).then("-t r/x/y -m z"),
        subscribe("-t r -C 1 -V 5 --retain-as-published -F '%r %p'").then("-t r -m x -r"),
        subscribe("-t r -C 1 -V 5 -F '%r %p'").then("-t r -m x -r"),
        subscribe("-t r -C 1 --retain-as-published -F '%r %p'").then("-t r -m x -r"),
        subscribe("-t r -t s -U r -C 1 -V 5 -D unsubscribe user-property a b").then("-t s -m x"),
        subscribe("-t a -C 1 -d -i me").then("-t a -m x"),
        subscribe("-t a -t b/+ -E -d -i me -q 2"),
        subscribe("-t a -C 1 -d -i me -q 1")
            .differs("Order of acknowledgements")
            .then("-t a -m x -q 1"),
        subscribe("-t a -C 1 -d -i me -q 2")
            .differs("Order of acknowledgements")
            .then("-t a -m x -q 2"),
        three(subscribe("-t r/# --remove-retained -R -W 1 -v")),
        subscribe("-t a -C 1 -N").then("-t a -m x"),
        subscribe("-t $share/g/a -C 1 -V 5").then("-t a -m x"),
        subscribe("-t # -C 1 -v").then("-t /a//b -m x"),
        subscribe("-t + -C 1 -v")
            .then("-t a/b -m x")
            .then("-t b -m y"),
        subscribe("-t a -C 2 -i me -c -q 1")
            .then("-t a -m x -q 1")
            .then("-t a -m y -q 1"),
        subscribe("-t a --retain-handling new -V 5 -E").differs("Options of 2.1"),
        subscribe("-t a --message-rate -W 1").differs("Options of 2.1"),
        subscribe("-t a --watch -W 1").differs("Options of 2.1"),
        subscribe("-t a -w -W 1").differs("Options of 2.1"),
        subscribe("-U a -E").differs("Options of 2.1"),
    ]
}

pub(crate) fn requests() -> Vec<Row> {
    vec![
        request("-t q -e r -m x -W 5").answer("-t r -m answer"),
        request("-t q -e r -m x -W 5 -v").answer("-t r -m answer"),
        request("-t q -e r -m x -W 5 -V 311").answer("-t r -m answer"),
        request("-t q -e r -m x -W 5 -V 31 -N").answer("-t r -m answer"),
        request("-t q -e r -n -W 5 -F '%t %p'").answer("-t r -m answer"),
        request("-t q -e r -m x -W 5 -q 1").answer("-t r -m answer"),
        request("-t q -e r -m x -W 5 -q 2").answer("-t r -m answer -q 1"),
        request("-t q -e r -m x -W 5 -D publish correlation-data c -D publish user-property a b")
            .answer("-t r -m answer"),
        request("-t q -e r -s -W 5")
            .differs("Options of 2.1")
            .input("x")
            .answer("-t r -m answer"),
        request("-t q -e r -m x -W 1"),
        request("-t q -e r -m x -W 1 --quiet"),
        request("-t q -e r -m x -W 5 -R")
            .differs("Options of 2.1")
            .answer("-t r -m answer"),
        request("-t q -e r -m x -W 5 --retain-as-published")
            .differs("Options of 2.1")
            .answer("-t r -m answer"),
        request("-t q -e r -m x -W 1 --latency").differs("Options of 2.1"),
        request("-t q -e r -m x -W 5 -i me -k 30 -u name -P pass").answer("-t r -m answer"),
    ]
    .into_iter()
    .map(|row| match row.difference {
        None if !row.answer.is_empty() => row.differs("DISCONNECT"),
        _ => row,
    })
    .collect()
}

pub(crate) fn connecting() -> Vec<Row> {
    vec![
        publish("-t a -m x -i me"),
        publish("-t a -m x --id me -V 5"),
        publish("-t a -m x -I prefix"),
        publish("-t a -m x --id-prefix prefix -V 31"),
        publish("-t a -m x -i me -c"),
        publish("-t a -m x -i me --disable-clean-session -V 5"),
        publish("-t a -m x -i me -V 5 -x 100"),
        publish("-t a -m x -i me -V 5 -x -1"),
        publish("-t a -m x -i me -V 5 -x 0"),
        publish("-t a -m x -i me -V 5 -x 0x10").differs("Numbers"),
        publish("-t a -m x -i me -V 5 -c -x 7"),
        publish("-t a -m x -x 7 -V 311"),
        publish("-t a -m x -V 5 -x 4294967295 -i me"),
        publish("-t a -m x -k 5"),
        publish("-t a -m x --keepalive 65535"),
        publish("-t a -m x -u name"),
        publish("-t a -m x --username name --pw pass"),
        publish("-t a -m x -u '' -P ''"),
        publish("-t a -m x -P pass -V 5"),
        publish("-t a -m x -V mqttv5"),
        publish("-t a -m x --protocol-version mqttv311"),
        publish("-t a -m x -V mqttv31"),
        publish("-t a -m x -V 5 -V 311"),
        publish("-t a -m x --will-topic w"),
        publish("-t a -m x --will-topic w --will-payload p --will-qos 2 --will-retain"),
        publish(
            "-t a -m x --will-topic w --will-payload p -V 5 -D will will-delay-interval 5 -D will content-type c",
        ),
        publish("-t a -m x --will-qos 1"),
        publish("-m x -L mqtt://127.0.0.1:{port}/a/b"),
        publish("-m x -L mqtt://name:pass@127.0.0.1:{port}/a"),
        publish("-m x --url mqtt://127.0.0.1:{port}/a%20b?c -t z"),
        publish("-h no.such -t z -m x -L mqtt://127.0.0.1:{port}/a -u later"),
        subscribe("-L mqtt://127.0.0.1:{port}/a -t b -E"),
        publish("-h 127.0.0.1 -p 1 -p {port} -t a -m x"),
        publish("--host localhost --port {port} -t a -m x"),
        publish("-A 127.0.0.1 -t a -m x"),
        publish("-A ::1 -t a -m x").differs("Failures in words"),
        subscribe("-t a -E -k 10 -i me -u name -P pass --will-topic w"),
        publish("-h no.such.host.invalid -p {port} -t a -m x").differs("Failures in words"),
        publish("-h 127.0.0.1 -p {port} -t a -m x")
            .broker("password_file /dev/null\nallow_anonymous false"),
        subscribe("-h 127.0.0.1 -p {port} -t a -V 5")
            .broker("allow_anonymous false\npassword_file /dev/null"),
        publish("-t a -m x -D connect authentication-method foo"),
        publish("-t a -m x -q 1").broker("acl_file /dev/null"),
        publish("-t a -m x -q 0 -V 5").broker("acl_file /dev/null"),
        publish("-t a -m x -q 1 -V 5")
            .broker("acl_file /dev/null")
            .differs("Refused messages"),
        publish("-t a -m x -q 2 -V 5")
            .broker("acl_file /dev/null")
            .differs("Refused messages"),
        publish("-t a -m x --no-tls").differs("Options of 2.1"),
        publish("-t a -m x --ws").differs("Options of 2.1"),
    ]
}

pub(crate) fn properties() -> Vec<Row> {
    let mut rows = vec![
        publish("-t a -m x -D publish topic-alias 3 --repeat 3"),
        publish("-t a -m x -D connect receive-maximum 5 -i me"),
        publish("-t a -m x -D CONNECT Receive-Maximum 5 -i me"),
        subscribe("-t a -E -D subscribe subscription-identifier 7 -D subscribe user-property a b"),
        subscribe("-t a -E -D disconnect reason-string why -D disconnect user-property a b"),
        subscribe("-t a -E -D publish content-type unused"),
        subscribe("-t a -E -D subscribe subscription-identifier 268435456"),
        subscribe("-t a -W 1 -D subscribe subscription-identifier 0")
            .differs("Subscription identifiers"),
        publish("-t a -m x -D connack user-property a b").differs("Properties are checked first"),
        publish(&format!(
            "-t a -m x -D publish content-type {}",
            "x".repeat(65536)
        ))
        .differs("Properties are checked first"),
        request("-t a -m x -e r -D publish response-topic r"),
    ];
    for property in [
        "connect request-problem-information 0",
        "connect request-response-information 1",
        "connect session-expiry-interval 9",
        "connect topic-alias-maximum 9",
        "connect maximum-packet-size 1000",
        "connect user-property a b -D connect user-property a c",
        "publish content-type text",
        "publish correlation-data data",
        "publish message-expiry-interval 9",
        "publish payload-format-indicator 1",
        "publish response-topic r/t",
        "publish user-property a b -D publish user-property a c",
        "disconnect session-expiry-interval 0",
        "disconnect reason-string why",
    ] {
        rows.push(publish(&format!("-t a -m x -i me -D {property}")));
    }
    for property in [
        "connect receive-maximum 65536",
        "publish receive-maximum 1",
        "connect content-type text",
        "subscribe content-type text",
        "disconnect content-type text",
        "will receive-maximum 1",
        "puback reason-string x",
        "auth reason-string x",
        "publish subscription-identifier 5",
        "connect receive-maximum",
        "connect user-property a",
        "connect session-expiry-interval 4294967296",
        "publish payload-format-indicator 256",
        "publish message-expiry-interval -1",
    ] {
        rows.push(publish(&format!("-t a -m x -D {property}")));
    }
    for property in ["connect nonsense 1", "nonsense user-property a b"] {
        rows.push(publish(&format!("-t a -m x -D {property}")).differs("Words of 2.1"));
    }
    for property in [
        "connect receive-maximum 0",
        "connect request-problem-information 2",
        "publish topic-alias 0",
        "publish response-topic a/+",
    ] {
        rows.push(
            publish(&format!("-t a -m x -D {property}")).differs("Properties are checked first"),
        );
    }
    rows.push(
        publish("-t a -m x -D publish content-type a -V 311")
            .differs("Properties are checked first"),
    );
    rows
}

pub(crate) fn files() -> Vec<Row> {
    vec![
        publish("-t a -m x").file("-h 127.0.0.1\n-p {port}\n"),
        publish("-m x").file("# mine\n\n-h 127.0.0.1\r\n-p {port}\n-t  spaced out \n-q 1\n"),
        publish("-m x -q 2").file("-h 127.0.0.1\n-p {port}\n-t a\n-q 1\n-r\n"),
        publish("-n").file("-h 127.0.0.1\n-p {port}\n-t a\n-m x\n"),
        publish("-t a -m x")
            .file("-h 127.0.0.1\n-p {port}\n--nonsense\n")
            .differs("Options files"),
        subscribe("-t b -E").file("-h 127.0.0.1\n-p {port}\n-t a\n"),
        publish("-t a -m x -o /no/such/file").differs("Options files"),
    ]
}
