// What a dashboard's JSON must be, by Grafana's own types: their enumerations as the strings that JSON has, and queries that are
// Prometheus', which also gives annotations a title.
import type {AnnotationQuery, Dashboard, DataQuery} from "@grafana/schema";

type Json<T> = T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends (infer Item)[] ? Json<Item>[]
  : T extends DataQuery ? {[Key in keyof T]: Json<T[Key]>} & {expr?: string}
  : T extends AnnotationQuery ? {[Key in keyof T]: Json<T[Key]>} & {titleFormat?: string}
  : T extends object ? {[Key in keyof T]: Json<T[Key]>}
  : T;

export type Board = Json<Dashboard>;
