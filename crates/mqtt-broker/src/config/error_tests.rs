//! Tests of the errors in configurations: the text must name the mistake and its line.

use std::path::Path;

use super::tests::parse;
use super::value_tests::parse_bytes;
use super::*;

#[test]
fn names_common_mistakes_of_configurations() {
    let one_line = "on the same line: write each directive on a line of its own.";
    for (text, expected) in [
        (
            "allow_anonymous True",
            "Invalid 'allow_anonymous' value (True): expected true or false in lower case."
                .to_owned(),
        ),
        (
            "persistence FALSE",
            "Invalid 'persistence' value (FALSE): expected true or false in lower case.".to_owned(),
        ),
        (
            "listener 1883 0.0.0.0 allow_anonymous true",
            format!("'listener' and 'allow_anonymous' are {one_line}"),
        ),
        (
            "listener 1883 protocol websockets",
            format!("'listener' and 'protocol' are {one_line}"),
        ),
        (
            "password_file /etc/users acl_file /etc/acl",
            format!("'password_file' and 'acl_file' are {one_line}"),
        ),
        (
            "mount_point a/#",
            "Invalid 'mount_point' value (a/#): must not contain '+' or '#'.".to_owned(),
        ),
        (
            "port=1883",
            "Unknown configuration variable 'port=': write a space in the place of '='.".to_owned(),
        ),
        (
            "remote_password=SECRET",
            "Unknown configuration variable 'remote_password…'.".to_owned(),
        ),
        (
            "me:$7$101$SECRET",
            "Unknown configuration variable 'me…'.".to_owned(),
        ),
    ] {
        let expected = format!("{expected} Error found at test.conf:1.");
        assert_eq!(parse(text).unwrap_err(), expected, "{text}");
    }
    // A directive name in a comment, in a path, or as the last word of a line is not a second directive.
    for text in [
        "listener 1883 # allow_anonymous true",
        "allow_anonymous true # persistence false",
        "persistence_location /srv/all user data",
        "log_type all user",
        "listener 1883 #",
    ] {
        parse(text).unwrap();
    }
    // A file with a byte order mark of UTF-16 is rejected, and one with that of UTF-8 is accepted.
    for bytes in [&b"\xFF\xFEl\0i\0"[..], b"\xFE\xFF\0l"] {
        let expected = "The file is in UTF-16, as its byte order mark says: save it in UTF-8. Error found at test.conf:1.";
        assert_eq!(parse_bytes(bytes).unwrap_err(), expected);
    }
    assert!(parse_bytes(b"\xEF\xBB\xBFallow_anonymous true").is_ok());
}

#[test]
fn an_error_at_the_end_names_the_line_of_its_directive() {
    let (certificate, key) = ("certfile c", "keyfile k");
    let needs_both = "A listener with TLS needs both 'certfile' and 'keyfile'.";
    for (lines, expected, line) in [
        (
            format!("listener 1\n{certificate}\nlistener 2\nallow_anonymous true\n\n"),
            format!("{needs_both} 'keyfile' is missing."),
            2,
        ),
        (
            format!("listener 1\n{key}\nlistener 2\n{certificate}\n{key}\n"),
            format!("{needs_both} 'certfile' is missing."),
            2,
        ),
        (
            "\n\nrequire_certificate true\nlistener 1\n".to_owned(),
            format!("{needs_both} 'require_certificate' has no effect without them."),
            3,
        ),
        (
            format!("listener 1\nuse_subject_as_username true\n{certificate}\n{key}\n"),
            "'use_subject_as_username' needs 'cafile' or 'capath' for the same listener."
                .to_owned(),
            2,
        ),
    ] {
        let expected = format!("{expected} Error found at test.conf:{line}.");
        assert_eq!(parse(&lines).unwrap_err(), expected, "{lines}");
    }
}

#[test]
fn errors_name_the_file_and_line_of_a_directive() {
    let config = parse(
        "bind_address ::1\nlistener 1 a\nlog_dest file /var/log/x y\npassword_file /u\nlistener 2\n\
         persistence_location /d/\nport 3",
    );
    let BrokerConfig {
        places, listeners, ..
    } = config.unwrap();
    let of_path = |path: &str| places.of_path(Path::new(path));
    assert_eq!(of_path("/var/log/x y").as_deref(), Some("test.conf:3"));
    assert_eq!(of_path("/u").as_deref(), Some("test.conf:4"));
    assert_eq!(of_path("/other"), None);
    let of_directive = places.of_directive("persistence_location");
    assert_eq!(of_directive.as_deref(), Some("test.conf:6"));
    let ports = listeners.iter().map(|listener| listener.port);
    let lines: Vec<_> = (0..3).map(|index| places.of_listener(index)).collect();
    let expected =
        ["test.conf:7", "test.conf:2", "test.conf:5"].map(|place| Some(place.to_owned()));
    assert_eq!((ports.collect(), lines), (vec![3, 1, 2], expected.to_vec()));
    // Here the default listener is opened by `protocol`.
    let config = parse("protocol websockets\nlistener 1").unwrap();
    let place = config.places.of_listener(0);
    assert_eq!(place.as_deref(), Some("test.conf:1"));
}
