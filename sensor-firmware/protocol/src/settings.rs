//! Keys of a hub's settings, which it keeps in EEPROM. Ranges and meanings are in `PROTOCOL.md`.

/// Bit *n* − 1: fan *n* is expected, and told of even when it never turned. 0 to 15, from the factory 0.
pub const FANS_EXPECTED: u8 = 1;
/// Pulses of a fan's tachometer for each turn. 1 to 8, from the factory 2.
pub const TACH_PULSES: u8 = 2;
/// Seconds without a command after which the fans go to full. 5 to 30, from the factory 30.
pub const SILENCE_SECONDS: u8 = 3;
/// Bit *n* − 1: relay *n* is on when its pin is low. 0 to 255, from the factory 255.
pub const RELAYS_ACTIVE_LOW: u8 = 4;

/// What a general pin is for: a [`role`].
///
/// `pin` is 1 to [`crate::MAX_RELAYS`].
#[must_use]
pub const fn pin_role(pin: u8) -> u8 {
    10 + pin
}

/// 1 when a probe's number belongs to a chip, 0 when it is free; setting 0 forgets the chip.
///
/// `probe` is 1 to [`crate::MAX_PROBES`].
#[must_use]
pub const fn probe_bound(probe: u8) -> u8 {
    20 + probe
}

/// Roles of a general pin.
pub mod role {
    /// Left alone.
    pub const UNUSED: u16 = 0;
    /// Drives the relay of the pin's number.
    pub const RELAY: u16 = 1;
    /// A 1-Wire line with any number of DS18B20.
    pub const ONE_WIRE: u16 = 2;
    /// The data line of one DHT22.
    pub const DHT22: u16 = 3;
}
