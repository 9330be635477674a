/** The schemas that programs name most often. All others are in `components["schemas"]`. */
import type { components } from "../../generated/api.d.ts";

type Schemas = components["schemas"];

export type Booking = Schemas["Booking"];
export type BookingStatus = Schemas["BookingStatus"];
export type Room = Schemas["Room"];
export type Timeslot = Schemas["Timeslot"];
