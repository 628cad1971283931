#pragma once
/* Everything an application needs: #include <halfpenny/halfpenny.h>, link libhalfpenny. */
#include "halfpenny/admin.h"
#include "halfpenny/consumer.h"
#include "halfpenny/message.h"
#include "halfpenny/producer.h"
#include "halfpenny/types.h"
