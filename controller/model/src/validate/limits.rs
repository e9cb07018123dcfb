//! Limits beside a size: what nobody can have, whichever the node.

use roost_types::limits::{Limits, WEIGHTS};
use roost_types::size::Resources;
use roost_types::{MemoryBytes, Problem};

use super::{MIN_MEMORY, invalid};

/// The most swap: more than any disk of a board has room for.
const MAX_SWAP: MemoryBytes = MemoryBytes::mib(1 << 20);
/// The slowest disk with which an instance can still be stopped in time.
const MIN_BYTES_PER_SECOND: u64 = 64 << 10;
/// The same in operations.
const MIN_OPERATIONS_PER_SECOND: u32 = 10;

/// Checks the limits of what an instance is given.
///
/// # Errors
/// `invalid_field`, with the field.
pub fn check(resources: &Resources) -> Result<(), Problem> {
    let limits = &resources.limits;
    if let Some(high) = limits.memory_high_bytes
        && !(MIN_MEMORY..=resources.memory_bytes).contains(&high)
    {
        let detail = format!(
            "{} is not between {MIN_MEMORY} and the memory limit of {} bytes: lower it, or take it back with null",
            high.0, resources.memory_bytes.0
        );
        return Err(invalid("limits.memory_high_bytes", detail));
    }
    if let Some(swap) = limits.swap_bytes.filter(|swap| *swap > MAX_SWAP) {
        return Err(invalid("limits.swap_bytes", format!("{} is more than {MAX_SWAP}", swap.0)));
    }
    weights(limits)?;
    rates(limits)
}

fn weights(limits: &Limits) -> Result<(), Problem> {
    for (field, weight) in [("limits.cpu_weight", limits.cpu_weight), ("limits.io_weight", limits.io_weight)] {
        if let Some(weight) = weight.filter(|weight| !WEIGHTS.contains(weight)) {
            return Err(invalid(field, format!("{weight} is not in {} to {}", WEIGHTS.start(), WEIGHTS.end())));
        }
    }
    Ok(())
}

fn rates(limits: &Limits) -> Result<(), Problem> {
    for (field, rate) in [
        ("limits.io_read_bytes_per_second", limits.io_read_bytes_per_second),
        ("limits.io_write_bytes_per_second", limits.io_write_bytes_per_second),
    ] {
        if let Some(rate) = rate.filter(|rate| rate.0 < MIN_BYTES_PER_SECOND) {
            return Err(invalid(field, format!("{} is less than {MIN_BYTES_PER_SECOND} bytes a second", rate.0)));
        }
    }
    for (field, rate) in [
        ("limits.io_reads_per_second", limits.io_reads_per_second),
        ("limits.io_writes_per_second", limits.io_writes_per_second),
    ] {
        if let Some(rate) = rate.filter(|rate| *rate < MIN_OPERATIONS_PER_SECOND) {
            return Err(invalid(field, format!("{rate} is less than {MIN_OPERATIONS_PER_SECOND} a second")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_types::Size;

    #[test]
    fn every_refusal_names_its_field() {
        let refused = |limits| {
            let resources = Resources { limits, ..Size::Nano.resources() };
            check(&resources).unwrap_err().field.unwrap_or_default()
        };
        let (none, mib) = (Limits::NONE, MemoryBytes::mib);
        for (limits, field) in [
            (Limits { memory_high_bytes: Some(mib(65)), ..none }, "limits.memory_high_bytes"),
            (Limits { memory_high_bytes: Some(mib(7)), ..none }, "limits.memory_high_bytes"),
            (Limits { swap_bytes: Some(MemoryBytes(u64::MAX)), ..none }, "limits.swap_bytes"),
            (Limits { cpu_weight: Some(0), ..none }, "limits.cpu_weight"),
            (Limits { io_weight: Some(10_001), ..none }, "limits.io_weight"),
            (Limits { io_read_bytes_per_second: Some(MemoryBytes(65_535)), ..none }, "limits.io_read_bytes_per_second"),
            (Limits { io_write_bytes_per_second: Some(MemoryBytes(0)), ..none }, "limits.io_write_bytes_per_second"),
            (Limits { io_reads_per_second: Some(9), ..none }, "limits.io_reads_per_second"),
            (Limits { io_writes_per_second: Some(0), ..none }, "limits.io_writes_per_second"),
        ] {
            assert_eq!(refused(limits), field);
        }
        let fine = Limits { memory_high_bytes: Some(mib(64)), swap_bytes: Some(mib(0)), cpu_weight: Some(1), ..none };
        assert_eq!(check(&Resources { limits: fine, ..Size::Nano.resources() }), Ok(()));
    }
}
