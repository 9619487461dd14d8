//! Properties of MQTT 5.0 (2.2.2). Most packets have a struct with one field for each property (`table.rs`). The
//! properties of PUBLISH and of a will stay in their encoded form (`publish_property.rs`).

pub(crate) mod publish_property;
pub(crate) mod repeated;
pub(crate) mod subscription_identifier;
pub(crate) mod table;
pub(crate) mod topic_alias;
pub(crate) mod user_property;
pub(crate) mod value;
