import { PostgreSQL, SQLDialect } from "@codemirror/lang-sql";

/**
 * PostgreSQL with the keywords that people write for what they do. The library's
 * list has every word that the grammar knows somewhere, and so colours columns
 * called id, name or status as if they were a part of the language.
 */
export const postgres = SQLDialect.define({
  ...PostgreSQL.spec,
  keywords:
    "add all alter analyze and any array as asc asymmetric begin between both by call cascade case cast check close cluster collate column comment commit concurrently " +
    "conflict constraint copy create cross current_catalog current_date current_role current_schema current_time current_timestamp current_user database deallocate declare default deferrable " +
    "delete desc distinct do drop else end except execute exists explain extension false fetch filter for foreign from full function grant group having if ilike in index inherits " +
    "initially inner insert instead intersect into is isnull join lateral leading left like limit listen load lock materialized merge natural not nothing notify notnull null offset on only or " +
    "order outer over overlaps partition placing prepare primary procedure recursive references refresh reindex rename replace reset restrict returning revoke right rollback row rows savepoint " +
    "schema select sequence session_user set show similar some start symmetric table tablesample temporary then to trailing transaction trigger true truncate union unique unlisten update user using " +
    "vacuum values variadic verbose view when where window with",
});
