//! When trouble is too common to be the nodes' own: half of them, and at least three, silent or hot at once. Then the
//! network or the cooling has failed, and moving work around would only make it worse.

/// Never for fewer nodes than this.
const FEWEST: usize = 3;

/// Whether `troubled` of `all` nodes are so many that nothing should be moved.
pub fn many_at_once(troubled: usize, all: usize) -> bool {
    troubled >= FEWEST && 2 * troubled >= all
}

#[cfg(test)]
mod tests {
    use super::many_at_once;

    #[test]
    fn half_of_the_nodes_and_at_least_three() {
        for (troubled, all, many) in
            [(0, 0, false), (2, 2, false), (2, 4, false), (3, 3, true), (3, 6, true), (3, 7, false), (4, 7, true)]
        {
            assert_eq!(many_at_once(troubled, all), many, "{troubled} of {all}");
        }
    }
}
