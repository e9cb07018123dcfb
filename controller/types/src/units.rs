//! Units as types, so that a temperature is never added to a humidity. Integers inside, plain numbers on the wire.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! thousandth {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "openapi", schema(value_type = f64))]
        pub struct $name(pub i32);

        impl $name {
            /// From whole units; exact.
            #[must_use]
            pub const fn whole(units: i32) -> Self {
                Self(units * 1000)
            }

            /// From hundredths, the unit of the serial line; exact.
            #[must_use]
            pub const fn from_centi(centi: i32) -> Self {
                Self(centi.saturating_mul(10))
            }

            /// The value in units, for arithmetic in floating point.
            #[must_use]
            pub fn as_f64(self) -> f64 {
                f64::from(self.0) / 1000.0
            }

            /// Nearest thousandth to a floating point value; out of range saturates, NaN is 0.
            #[must_use]
            #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what is promised")]
            pub fn from_f64(units: f64) -> Self {
                Self((units * 1000.0).round() as i32)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:.1} ", $unit), self.as_f64())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:.3} ", $unit), self.as_f64())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_f64(self.as_f64())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                f64::deserialize(deserializer).map(Self::from_f64)
            }
        }
    };
}

thousandth!(
    /// A temperature in thousandths of a degree Celsius.
    MilliCelsius,
    "°C"
);
thousandth!(
    /// A relative humidity in thousandths of a percent.
    MilliPercent,
    "%"
);

/// An amount of memory or disk in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MemoryBytes(pub u64);

impl MemoryBytes {
    /// `n` MiB.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
}

impl fmt::Display for MemoryBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n >= 1 << 30 && n % (1 << 30) == 0 => write!(f, "{} GiB", n >> 30),
            n if n >= 1 << 20 => write!(f, "{} MiB", n >> 20),
            n if n >= 1 << 10 => write!(f, "{} KiB", n >> 10),
            n => write!(f, "{n} B"),
        }
    }
}

impl fmt::Debug for MemoryBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
