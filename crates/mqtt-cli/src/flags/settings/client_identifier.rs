//! A random client identifier for MQTT 3.1, in which the server does not assign one.

/// Returns an identifier in the format of the mosquitto tools. It has 23 characters, the maximum of MQTT 3.1.
pub(super) fn random_identifier() -> String {
    let mut random = [0; 18];
    // If the system has no random bytes, the process number is at least unique on this machine.
    if getrandom::fill(&mut random).is_err() {
        return format!("mosq-{}", std::process::id());
    }
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let letter = |byte: &u8| letters.get(usize::from(*byte) % letters.len());
    let letters = random
        .iter()
        .filter_map(letter)
        .map(|letter| char::from(*letter));
    std::iter::once("mosq-".to_owned())
        .chain(letters.map(String::from))
        .collect()
}
