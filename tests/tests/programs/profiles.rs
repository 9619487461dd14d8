//! Connections that are not on the command line: profiles, environment variables, and their errors. The tests read the
//! CONNECT packet that the program sends.
#![cfg(unix)]

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use mqtt_codec::{Connect, Decoder, PacketRef};
use tests::{Broker, Program, Proxy};

/// A broker behind a proxy, and a folder for options files and profiles.
pub(super) struct Place {
    pub(super) proxy: Proxy,
    pub(super) folder: tempfile::TempDir,
    _broker: Broker,
}

impl Place {
    pub(super) fn new() -> Self {
        let broker = Broker::start("");
        Self {
            proxy: Proxy::start(broker.address()),
            folder: tempfile::tempdir().unwrap(),
            _broker: broker,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.proxy.address.port()
    }

    /// Writes the profiles. `PORT` stands for the port of the proxy.
    pub(super) fn write_profiles(&self, text: &str) {
        let folder = self.folder.path().join("rpubsub");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("config.toml");
        let text = text.replace("PORT", &self.port().to_string());
        std::fs::write(&path, text).unwrap();
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }

    /// Returns a program that finds the files of this place.
    pub(super) fn program(&self, name: &str) -> Program {
        Program::new(name).env("XDG_CONFIG_HOME", &self.folder.path().to_string_lossy())
    }

    /// Runs rpub and returns its CONNECT.
    pub(super) fn connect(&self, publisher: Program) -> Connect {
        let before = self.proxy.sent().len();
        let finished = publisher.args("-t a -n").run().success();
        assert_eq!(finished.errors, "", "{finished:?}");
        let sent = self.proxy.sent();
        let mut bytes = &sent[before][..];
        match Decoder::server(1000).decode(&mut bytes).unwrap() {
            Some(PacketRef::Connect(connect)) => *connect,
            packet => panic!("{packet:?}"),
        }
    }

    /// Runs rpub and returns its user name and password.
    pub(super) fn login(&self, publisher: Program) -> (Option<String>, Option<String>) {
        let connect = self.connect(publisher);
        let password = connect.password.map(|password| password.to_vec());
        let password = password.map(|password| String::from_utf8(password).unwrap());
        (connect.user_name, password)
    }

    /// Runs rpub, which must fail before it connects, and returns its standard error.
    pub(super) fn error(&self, arguments: &str) -> String {
        let finished = self.program("rpub").args(arguments).args("-t a -n").run();
        assert_eq!(finished.status, 1, "{finished:?}");
        finished.errors
    }
}

pub(super) fn some(user_name: &str, password: &str) -> (Option<String>, Option<String>) {
    (Some(user_name.into()), Some(password.into()))
}

#[test]
fn command_line_overrides_profile_and_profile_variables_and_these_the_options_file() {
    let place = Place::new();
    let port = place.port().to_string();
    let options = format!("-h 127.0.0.1\n-p {port}\n-u file\n-P 1\n");
    std::fs::write(place.folder.path().join("rpub"), options).unwrap();
    let exposed = place.folder.path().join("rpub");
    set_permissions(&exposed, Permissions::from_mode(0o600)).unwrap();
    place.write_profiles(
        "[home]\nhost = '127.0.0.1'\nport = PORT\nusername = 'profile'\npassword = '3'\n",
    );
    let file = || place.program("rpub");
    let variables = |program: Program| {
        program
            .env("MQTT_HOST", "127.0.0.1")
            .env("MQTT_PORT", &port)
            .env("MQTT_USERNAME", "variable")
            .env("MQTT_PASSWORD", "2")
    };
    assert_eq!(place.login(file()), some("file", "1"));
    assert_eq!(place.login(variables(file())), some("variable", "2"));
    let with_profile = || variables(file()).args("@home");
    assert_eq!(place.login(with_profile()), some("profile", "3"));
    assert_eq!(
        place.login(with_profile().args("-u typed")),
        some("typed", "3")
    );
    // The place of the password counts, not the kind: --password-file of the command line overrides a password.
    let secret = place.folder.path().join("secret");
    std::fs::write(&secret, "4\n").unwrap();
    set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let typed = with_profile().arg("--password-file").arg(&secret);
    assert_eq!(place.login(typed), some("profile", "4"));
    let typed = file().arg("--password-file").arg(&secret);
    assert_eq!(place.login(typed), some("file", "4"));
}

#[test]
fn login_of_one_source_does_not_reach_the_broker_of_another_source() {
    let place = Place::new();
    let options = "-h other.invalid\n-u file\n-P secret\n--cafile /no/such/file\n";
    let path = place.folder.path().join("rpub");
    std::fs::write(&path, options).unwrap();
    set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    place.write_profiles("[home]\nhost = '127.0.0.1'\nport = PORT\n");
    let publisher = place.program("rpub").args("@home");
    assert_eq!(place.login(publisher), (None, None));
    let url = format!("mqtt://127.0.0.1:{}", place.port());
    let publisher = place.program("rpub").env("MQTT_URL", &url);
    assert_eq!(place.login(publisher), (None, None));
}

#[test]
fn variables_have_no_effect_if_the_command_line_names_a_broker_or_has_the_name_of_a_mosquitto_tool()
{
    let place = Place::new();
    let port = place.port();
    let with_variables = |program: Program| {
        program
            .env("MQTT_HOST", "other.invalid")
            .env("MQTT_PORT", "1")
            .env("MQTT_USERNAME", "me")
            .env("MQTT_PASSWORD", "secret")
            .env("MQTT_CAFILE", "/no/such/file")
            .env("RPUBSUB_PROFILE", "none")
    };
    let named = format!("-h 127.0.0.1 -p {port}");
    let publisher = with_variables(place.program("rpub")).args(&named);
    assert_eq!(place.login(publisher), (None, None));
    let link = place.folder.path().join("mosquitto_pub");
    symlink(tests::programs().join("rpub"), &link).unwrap();
    // The profile is an addition that no script for mosquitto_pub contains.
    let arguments = format!("-p {port}");
    let publisher = with_variables(Program::at(link)).args(&arguments);
    let folder = place.folder.path().join("empty");
    let publisher = publisher.env("XDG_CONFIG_HOME", &folder.to_string_lossy());
    assert_eq!(place.login(publisher), (None, None));
}

#[test]
fn url_of_a_variable_has_all_parts_and_other_variables_override_them() {
    let place = Place::new();
    let port = place.port();
    let url = format!("mqtt://me:p%40ss@other.invalid:{port}/");
    let publisher = || {
        place
            .program("rpub")
            .env("MQTT_URL", &url)
            .env("MQTT_HOST", "127.0.0.1")
    };
    assert_eq!(place.login(publisher()), some("me", "p@ss"));
    let publisher = publisher().env("MQTT_USERNAME", "you");
    assert_eq!(place.login(publisher), some("you", "p@ss"));
    // Kubernetes sets such a port if a service is named `mqtt`.
    let publisher = place.program("rpub").env("MQTT_HOST", "127.0.0.1");
    let publisher = publisher.env("MQTT_PORT", "tcp://10.0.0.1:1883");
    place.connect(publisher.args(&format!("-p {port}")));
    // Without a broker the other variables have no effect. An empty variable counts as unset.
    let publisher = place.program("rpub").env("MQTT_HOST", "");
    let publisher = publisher.env("MQTT_USERNAME", "me");
    assert_eq!(
        place.login(publisher.args(&format!("-p {port}"))),
        (None, None)
    );
    for (name, value, expected) in [
        (
            "MQTT_PORT",
            "many",
            "Error: Invalid port given: many (environment variable MQTT_PORT)\n",
        ),
        // Only a port of Kubernetes is ignored.
        ("MQTT_HOST", "tcp://10.0.0.1", "Error: "),
        (
            "MQTT_URL",
            "mqtt://host/topic",
            "Error: Invalid URL: text follows the host and the port (environment variable MQTT_URL).\n",
        ),
        (
            "MQTT_URL",
            "mqtt://me:SECRET@:1",
            "Error: Invalid URL - host missing (environment variable MQTT_URL).\n",
        ),
    ] {
        let publisher = place.program("rpub").env("MQTT_HOST", "h").env(name, value);
        let finished = publisher.args("-t a -n").run();
        assert_eq!(finished.status, 1);
        assert!(finished.errors.starts_with(expected), "{finished:?}");
        assert!(!finished.errors.contains("SECRET"), "{finished:?}");
    }
}

#[test]
fn all_three_programs_take_every_connection_option_from_a_profile() {
    let place = Place::new();
    place.write_profiles(
        "[other]\nhost = 1\n\n[home]\n\
         url = 'mqtt://u@other.invalid:PORT'\nhost = ['127.0.0.1']\nprotocol-version = 5\nid-prefix = 'p-'\n\
         keepalive = 0x1e\ndisable-clean-session = false\nproperty = [['connect', 'user-property', 'a', 'b c'], ['connect', 'receive-maximum', 7]]\n\
         will-topic = 'gone'\nwill-payload = 'bye'\nwill-retain = true\ntimeout = '1m'\nconnect-timeout = 2.5\n",
    );
    let connect = place.connect(place.program("rpub").args("@home"));
    assert_eq!(connect.protocol_version, mqtt_codec::ProtocolVersion::V5_0);
    assert!(connect.client_identifier.starts_with("p-"));
    assert_eq!((connect.keep_alive, connect.clean_start), (30, true));
    assert_eq!(connect.user_name.as_deref(), Some("u"));
    let properties = &connect.properties;
    assert_eq!(properties.receive_maximum.map(u16::from), Some(7));
    let pairs: Vec<_> = properties.user_properties.iter().collect();
    assert!(format!("{pairs:?}").contains("b c"), "{pairs:?}");
    let will = connect.will.unwrap();
    assert!(will.message.retain);
    assert_eq!(&will.message.payload[..], b"bye");

    let subscriber = place.program("rsub").args("@home -E -t a -q 1 -d");
    subscriber.run().success();
    let requester = place.program("rrr");
    let requester = requester.args("-t a -e b -m @message @home -W 0.1").run();
    assert_eq!(requester.status, 27, "{requester:?}");
    let sent = place.proxy.sent();
    assert_eq!(sent.len(), 3);
    assert!(sent[2].windows(8).any(|part| part == b"@message"));
}

#[test]
fn paths_of_a_profile_begin_at_its_folder_or_at_the_home_folder() {
    let place = Place::new();
    place.write_profiles(
        "[here]\nhost = '127.0.0.1'\nport = PORT\nusername = 'u'\npassword-file = 'one'\n\
         [home]\nhost = '127.0.0.1'\nport = PORT\nusername = 'u'\npassword-file = '~/two'\n",
    );
    for (path, password) in [("rpubsub/one", "1"), ("two", "2")] {
        let path = place.folder.path().join(path);
        std::fs::write(&path, password).unwrap();
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    let home = place.folder.path().to_string_lossy();
    let publisher = || {
        place
            .program("rpub")
            .env("HOME", &home)
            .folder(Path::new("/"))
    };
    assert_eq!(place.login(publisher().args("@here")), some("u", "1"));
    assert_eq!(place.login(publisher().args("@home")), some("u", "2"));
    let publisher = publisher().env("RPUBSUB_PROFILE", "home");
    assert_eq!(place.login(publisher), some("u", "2"));
}

#[test]
fn errors_name_the_file_the_line_the_key_and_the_closest_known_one() {
    let place = Place::new();
    let path = place.folder.path().join("rpubsub/config.toml");
    let path = path.display();
    let error = place.error("@home");
    let expected =
        format!("Error: Unable to read the profiles of '{path}': No such file or directory.\n");
    assert!(error.starts_with(&expected), "{error}");
    for (text, line, expected, hint) in [
        (
            "[home]\nhots = 'h'",
            ":2, key 'hots' of profile '@home'",
            "Unknown key 'hots'",
            "Did you mean 'host'?",
        ),
        (
            "[home]\nqos = 1",
            ":2, key 'qos' of profile '@home'",
            "Unknown key 'qos'",
            "The keys of a profile are",
        ),
        (
            "[home]\n\nport = 70000",
            ":3, key 'port' of profile '@home'",
            "Invalid port given: 70000",
            "A port must be",
        ),
        (
            "[home]\nhost = true",
            ":2, key 'host' of profile '@home'",
            "Invalid value: expected a text or a number",
            "",
        ),
        (
            "[home]\nport = [1]",
            ":2, key 'port' of profile '@home'",
            "Invalid value: expected a text or a number",
            "",
        ),
        (
            "[home]\nws = 1",
            ":2, key 'ws' of profile '@home'",
            "Invalid value: expected true or false",
            "",
        ),
        (
            "[home]\nproperty = ['a']",
            ":2, key 'property' of profile '@home'",
            "Invalid value: expected an array of properties",
            "Write a property as",
        ),
        (
            "[homer]\n",
            "",
            "Unknown profile '@home'",
            "Did you mean '@homer'?",
        ),
        (
            "[work]\n[test]\n",
            "",
            "Unknown profile '@home'",
            "The file has @test, @work.",
        ),
        ("[home]\nhost = SECRET\n", ":2", "Invalid TOML: ", ""),
        (
            "[home]\nport = 1\nport = 2\n",
            ":3",
            "Invalid TOML: duplicate key",
            "",
        ),
        (
            "home = 1\n",
            ":1",
            "Invalid profile '@home'",
            "Write '[home]' on a line of its own.",
        ),
    ] {
        place.write_profiles(text);
        let error = place.error("@home");
        assert!(error.starts_with(&format!("Error: {expected}")), "{error}");
        assert!(error.contains(&format!("({path}{line})")), "{error}");
        assert!(error.contains(&format!("\n{hint}")), "{error}");
        assert!(!error.contains("SECRET"), "{error}");
    }
    for (arguments, expected) in [
        (
            "@",
            "Error: The name of the profile is missing after '@'.\n",
        ),
        ("@a @b", "Error: Only one profile can be used.\n"),
    ] {
        assert!(place.error(arguments).starts_with(expected));
    }
}

#[test]
fn file_of_profiles_is_read_only_if_a_profile_is_named() {
    let place = Place::new();
    place.write_profiles("this is not TOML");
    let port = place.port();
    for arguments in [
        "-m @home",
        "-rm @home",
        "-i @home",
        "--id=@home",
        "-D publish x @home",
    ] {
        let program = place.program("rpub").args("-h 127.0.0.1 -t a");
        let finished = program
            .args(&format!("-p {port} -W 5 {arguments} -n"))
            .run();
        assert!(!finished.errors.contains("TOML"), "{finished:?}");
    }
}
