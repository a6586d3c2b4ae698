package eventhub

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// body returns the bytes of a message. Diagnostic settings and SDK producers
// write one data section, which is used as it is. AMQP allows others, which the
// SDK leaves out of Body; nothing a producer put into a hub is dropped here.
func body(m *azeventhubs.ReceivedEventData) []byte {
	if m.Body != nil || m.RawAMQPMessage == nil {
		return m.Body
	}
	switch raw := m.RawAMQPMessage.Body; {
	case len(raw.Data) > 0:
		return bytes.Join(raw.Data, nil)
	case raw.Value != nil:
		return valueBytes(raw.Value)
	case len(raw.Sequence) > 0:
		return valueBytes(raw.Sequence)
	}
	return nil
}

func valueBytes(v any) []byte {
	switch v := v.(type) {
	case []byte:
		return v
	case string:
		return []byte(v)
	}
	if b, err := json.Marshal(v); err == nil {
		return b
	}
	return fmt.Append(nil, v) // a map with keys JSON cannot have; for the dead letters
}
