//! A client identifier for a version of MQTT in which the broker does not choose one.

/// An identifier for 3.1, which allows 23 characters, made as the mosquitto tools make it.
pub(super) fn random_identifier() -> String {
    let mut random = [0; 18];
    // Without random bytes the process number at least differs on this machine.
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
