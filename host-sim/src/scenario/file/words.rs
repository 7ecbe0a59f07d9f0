//! The values of a scenario file, each as people write it: read by the rules of the options, and written.

use std::fmt;

use peerdist_core::encoding::InfoVersion;
use peerdist_core::time::Duration;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::super::{Caching, Member, Start, invalid, units};
use super::member;
use crate::link::Probability;

/// A value that is written as text, mostly with a unit, or as a bare number where that is one too.
macro_rules! quantity {
    ($name:ident($inner:ty): $expected:literal, $parse:expr, $write:expr) => {
        #[derive(Clone, Copy)]
        pub(super) struct $name(pub(super) $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = deserializer.deserialize_any(Word($expected))?;
                $parse(&text).map(Self).map_err(D::Error::custom)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&$write(self.0))
            }
        }
    };
}

quantity!(Rate(u64): "a rate such as \"2 Mbit/s\"", units::parse_rate, units::rate);
quantity!(Delay(Duration): "a delay such as \"50 ms\"", units::parse_delay, units::time);
quantity!(Time(Duration): "a time such as \"2.5 s\"", units::parse_time, units::time);
quantity!(Size(u64): "a size such as \"4 MiB\"", units::parse_size, units::size);
quantity!(Room(u64): "a size such as \"256 KiB\"", units::parse_room, units::size);
quantity!(
    ContentInfo(InfoVersion): "a version of content information, 1 or 2",
    units::parse_content_info,
    units::content_info
);
quantity!(CachingValue(Caching): "a way of caching such as \"hosted\"", units::parse_caching, units::caching);
quantity!(
    HostName(Member): "the name of a host such as \"machine-01\"",
    |text: &str| member(text).map_or_else(|| invalid(format!("nobody is called `{text}`")), Ok),
    |member: Member| member.to_string()
);
quantity!(Share(Probability): "a share of frames such as \"2 %\"", units::parse_loss, units::share);

/// Text, or a number as text.
struct Word(&'static str);

impl Visitor<'_> for Word {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_u64<E>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_i128<E>(self, number: i128) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_u128<E>(self, number: u128) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E>(self, number: f64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

/// A number, or text where the number is larger than TOML's.
macro_rules! number {
    ($name:ident($inner:ty): $parse:expr) => {
        #[derive(Clone, Copy)]
        pub(super) struct $name(pub(super) $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = deserializer.deserialize_any(Word("a number"))?;
                $parse(&text).map(Self).map_err(D::Error::custom)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match i64::try_from(self.0) {
                    Ok(number) => serializer.serialize_i64(number),
                    Err(_) => serializer.serialize_str(&self.0.to_string()),
                }
            }
        }
    };
}

number!(SeedValue(u64): units::parse_seed);
number!(Clients(usize): units::parse_clients);
number!(Events(u64): units::parse_number);
number!(Connections(usize): units::parse_connections);
number!(Port(u16): units::parse_port);

pub(super) struct StartValue(pub(super) Start);

impl<'de> Deserialize<'de> for StartValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;
        impl<'de> Visitor<'de> for Value {
            type Value = Start;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"together\", \"staggered\" or a list of times")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Start, E> {
                match text.to_ascii_lowercase().as_str() {
                    "together" => Ok(Start::Together),
                    "staggered" => Ok(Start::Staggered),
                    _ => Err(E::custom(format!(
                        "`{text}` is not \"together\", \"staggered\" or a list of times"
                    ))),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Start, A::Error> {
                let mut times = Vec::new();
                while let Some(Time(time)) = list.next_element()? {
                    times.push(time);
                }
                Ok(Start::At(times))
            }
        }
        deserializer.deserialize_any(Value).map(Self)
    }
}

impl Serialize for StartValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Start::Together => serializer.serialize_str("together"),
            Start::Staggered => serializer.serialize_str("staggered"),
            Start::At(times) => serializer.collect_seq(times.iter().map(|time| Time(*time))),
        }
    }
}

/// Names of groups and hosts: one, or a list.
pub(super) struct Names(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;
        impl<'de> Visitor<'de> for Value {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name such as \"client-01\", or a list of names")
            }

            fn visit_str<E>(self, name: &str) -> Result<Vec<String>, E> {
                Ok(vec![name.into()])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Ok(names)
            }
        }
        deserializer.deserialize_any(Value).map(Self)
    }
}

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [name] => serializer.serialize_str(name),
            names => serializer.collect_seq(names),
        }
    }
}
