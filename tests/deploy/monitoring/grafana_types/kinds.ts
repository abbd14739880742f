// What the dashboards are held against, by name. `raw` is copied out of the package @grafana/schema.
import type { Dashboard, Panel, RowPanel } from './raw/dashboard/x/types.gen';
import type { FieldConfig as BarChartFields, Options as BarChart } from './raw/composable/barchart/panelcfg/x/types.gen';
import type { Options as Stat } from './raw/composable/stat/panelcfg/x/types.gen';
import type { FieldConfig as TableFields, Options as Table } from './raw/composable/table/panelcfg/x/types.gen';
import type { FieldConfig as TimeSeriesFields, Options as TimeSeries } from './raw/composable/timeseries/panelcfg/x/types.gen';

export interface Kinds {
  dashboard: Dashboard;
  row: RowPanel;
  panel: Panel;
  barchart: BarChart;
  barchartFields: BarChartFields;
  stat: Stat;
  table: Table;
  tableFields: TableFields;
  timeseries: TimeSeries;
  timeseriesFields: TimeSeriesFields;
}
