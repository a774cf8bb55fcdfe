//! What statistics and requests are of, each with a number that keeps their rows short.

/// So many rows are written in one transaction, and named in one statement: both databases take far
/// more values in one, and a far server one way there and back for each.
pub(crate) const BATCH: usize = 256;

/// The numbers of the series with these names, owner and tunnel, in the transaction `$all`. Those that
/// are new get one.
macro_rules! numbers_of {
    ($all:ident, $names:expr) => {{
        // In one order for every relay, so that no two who write wait for each other.
        let names: &std::collections::BTreeSet<(&str, &str)> = $names;
        let values = $crate::store::series::values(1, names.len(), 2);
        let find = format!(
            "SELECT id, owner, tunnel FROM series WHERE gone IS NULL \
             AND (owner, tunnel) IN (VALUES {values})"
        );
        let add =
            format!("INSERT INTO series (owner, tunnel) VALUES {values} ON CONFLICT DO NOTHING");
        let mut numbers = std::collections::HashMap::new();
        loop {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(find.clone())).persistent(false);
            for (owner, tunnel) in names {
                query = query.bind(*owner).bind(*tunnel);
            }
            for row in query.fetch_all(&mut *$all).await? {
                let name: (String, String) = (row.try_get("owner")?, row.try_get("tunnel")?);
                let id: i64 = row.try_get("id")?;
                numbers.insert(name, id);
            }
            if numbers.len() >= names.len() {
                break;
            }
            let mut query = sqlx::query(sqlx::AssertSqlSafe(add.clone())).persistent(false);
            for (owner, tunnel) in names {
                query = query.bind(*owner).bind(*tunnel);
            }
            query.execute(&mut *$all).await?;
        }
        numbers
    }};
}
pub(super) use numbers_of;

/// The places of `rows` times `columns` values in a statement, from number `first` on.
pub(super) fn values(first: usize, rows: usize, columns: usize) -> String {
    let place = |number: usize| format!("${number}");
    let row = |row: usize| {
        let begin = first + row * columns;
        let places: Vec<_> = (begin..begin + columns).map(place).collect();
        format!("({})", places.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_a_place_of_its_own() {
        assert_eq!(values(3, 2, 3), "($3, $4, $5), ($6, $7, $8)");
    }
}
