/** Where everything meets: source → recording → clock → picture and lists. */

import "./style.css";
import { start } from "./app";

start();
